"""Types of columns: one file per type, and one line in `kinds.py`."""
