"""A clock that jumps: libfaketime, before our own processes, with an offset that may change at any time."""

from pathlib import Path

from infra.local import debian
from lineage.errors import SettingsError

PACKAGE = "libfaketime"
LIBRARY = "faketime/libfaketimeMT.so.1"


def library(downloads: Path) -> Path | None:
    """Where libfaketime is; installed as root, else unpacked among the downloads, else None."""
    if found := _find(downloads):
        return found
    try:
        if debian.may_install():
            debian.install(PACKAGE, PACKAGE)
        else:
            debian.unpack(PACKAGE, PACKAGE, downloads.absolute())
    except (SettingsError, OSError):
        return None
    return _find(downloads)


def _find(downloads: Path) -> Path | None:
    places = (Path("/usr/lib"), downloads.absolute() / PACKAGE / "usr" / "lib")
    return next((path for place in places for path in place.glob(f"*/{LIBRARY}")), None)


def environment(found: Path, clock: Path) -> dict[str, str]:
    """A process's variables; only the time of day jumps, so that its waits stay what they are."""
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def jump(clock: Path, seconds: int) -> None:
    """Have the clock be wrong by so much from now on."""
    draft = clock.with_suffix(".draft")
    draft.write_text(f"{seconds:+d}\n")
    draft.replace(clock)
