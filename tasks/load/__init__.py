"""One file per load."""
