"""How records stand in files, as a pipeline may say it: a file per format, and a line in `kinds.py`."""
