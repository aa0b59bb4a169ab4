"""Local forms of every service, each one class with start, ready and stop."""
