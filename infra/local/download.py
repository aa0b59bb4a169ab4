"""Running a program that downloads, with its progress on one line instead of a thousand."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int  # exit status
    lines: tuple[str, ...]  # what it said, both streams


def counted(command: Sequence[str | Path], what: str, *, each: str = "") -> Outcome:
    """Run `command`, showing on stderr what is downloaded and how many lines with `each` it has written."""
    console = Console(stderr=True)
    console.print(f"Downloading {what} …", highlight=False)
    lines: list[str] = []
    with (
        console.status(what) as status,
        subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as running,
    ):
        assert running.stdout is not None  # noqa: S101 -- it is a pipe
        done = 0
        for line in running.stdout:
            lines.append(line.rstrip())
            if each and each in line:
                done += 1
                status.update(f"{what}: {done} files")
    return Outcome(running.returncode, tuple(lines))
