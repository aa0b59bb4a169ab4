"""One file per extract."""
