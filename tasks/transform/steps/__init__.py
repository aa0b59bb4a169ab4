"""What a pipeline does with its good records, in order: one file per step, and one line in `kinds.py`."""
