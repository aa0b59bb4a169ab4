"""How every command ends: one sentence when it fails, and a status that a script can tell apart.

Exit status: 0 done · 1 a check found differences · 2 wrong use or settings, the same call fails again ·
3 a service is away, the same call may work later · 130 interrupted.
"""

from collections.abc import Callable
from typing import Final

from lineage.errors import HeadwaterError, UnavailableError, VerificationError

DIFFERENCES: Final = 1
REFUSED: Final = 2
UNAVAILABLE: Final = 3
INTERRUPTED: Final = 130


def guarded(command: Callable[[], object]) -> int:
    """The exit status of a command; an error of ours is told in one sentence, without secrets."""
    try:
        command()
    except HeadwaterError as error:
        from console.cli.table import say
        from infra.masking import mask

        say(mask(str(error)), err=True)
        return status_of(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def status_of(error: HeadwaterError) -> int:
    if isinstance(error, VerificationError):
        return DIFFERENCES
    return UNAVAILABLE if isinstance(error, UnavailableError) else REFUSED
