"""This machine: is there room?"""

import shutil
from pathlib import Path
from typing import Final

from infra.doctor.finding import Finding, Level

PART: Final = "This machine"
LITTLE: Final = 2 * 1024**3  # bytes


def check(home: Path) -> tuple[Finding, ...]:
    """Findings about the disk that holds `home`."""
    there = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    sentence = f"{free / 1024**3:.1f} GiB free for {home}"
    if free < LITTLE:
        return (Finding(PART, Level.WARNING, sentence, "Make room, or set HEADWATER_HOME."),)
    return (Finding(PART, Level.OK, sentence),)
