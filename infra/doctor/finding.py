"""One thing a check found, with what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lineage.errors import HeadwaterError, UnavailableError

LOOPBACK: Final = frozenset({None, "", "localhost", "127.0.0.1", "::1"})


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` is empty when there is nothing to do."""

    part: str
    level: Level
    sentence: str
    fix: str = ""


def away(part: str, error: HeadwaterError, fix: str = "") -> Finding:
    """What an error says of a part, without its name again; its own hint, where it has one, is the fix."""
    if isinstance(error, UnavailableError):
        return Finding(part, Level.UNREACHABLE, f"it is unavailable: {error.reason}.", fix or error.hint)
    return Finding(part, Level.UNREACHABLE, str(error), fix)


def readable(part: str, host: str | None, tls: bool, fix: str) -> Iterator[Finding]:
    """A warning when what goes to another machine goes there without TLS."""
    if not tls and host not in LOOPBACK:
        yield Finding(part, Level.WARNING, "passwords and data cross the network readable", fix)
