"""The key that rows are digested with: is it on this host, are older ones, and does nobody else read it?"""

from collections.abc import Iterator
from typing import Final

from flows.process import stores
from infra import key_file
from infra.doctor.finding import Finding, Level
from infra.settings import Settings
from lineage.keys import KeyRing
from tasks.load.digest_keys import known_keys

PART: Final = "Digest key"


async def check(settings: Settings) -> tuple[Finding, ...]:
    """Findings about this host's keys against those that the store knows of; raises UnavailableError."""
    keys = key_file.read(settings.digest_keys)
    async with stores.open_connection(settings, "doctor") as connection:
        known = await known_keys(connection)
    open_ = key_file.readable_by_others(settings.digest_keys)
    return (*_lacking(keys, known), *_open(open_)) or (Finding(PART, Level.OK, _said(keys)),)


def _lacking(keys: KeyRing, known: list[str]) -> Iterator[Finding]:
    lacks = [name for name in known if not keys.holds(name)]
    if lacks and keys.current is None:
        sentence = "this host lacks it: what it commits has the anchors alone, and it can prove nothing"
        yield Finding(PART, Level.WARNING, sentence, stores.COPY_KEY)
    elif lacks:
        sentence = f"this host lacks {', '.join(lacks)}: it cannot prove what was digested with it"
        yield Finding(
            PART, Level.WARNING, sentence, "Add its line to HEADWATER_KEY_FILE, above the last one."
        )


def _open(readable: bool) -> Iterator[Finding]:
    if readable:
        sentence = "others of this machine may read it, and forge digests with it"
        yield Finding(PART, Level.WARNING, sentence, "chmod 600 the file (HEADWATER_KEY_FILE).")


def _said(keys: KeyRing) -> str:
    return f"{keys.name}, of {len(keys.keys)}" if keys.current else "none yet: the first process makes it"
