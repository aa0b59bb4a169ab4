"""Files and directories that are for nobody but their owner.

What we make, we make so. What was there stays as it is, but for the directories that we alone use.
"""

import os
from pathlib import Path
from typing import Final

UMASK: Final = 0o077
DIRECTORY: Final = 0o700


def by_default() -> None:
    """Let whatever this process and those it starts make be its user's alone."""
    os.umask(UMASK)


def make(path: Path) -> Path:
    """A directory: what is missing of it, and above it, is made for us alone; the rest stays as it is."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=DIRECTORY, exist_ok=True)
    return path


def own(path: Path) -> Path:
    """A directory that we alone use: made, and closed to others where an older version left it open.

    A link is its user's, and so is the directory that it leads to.
    """
    if make(path).stat().st_mode & UMASK and not path.is_symlink():
        path.chmod(DIRECTORY)
    return path
