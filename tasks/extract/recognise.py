"""Which file it is that lies there: one that was read before, under whatever name, or a new one.

A file is known again by what was read of it. One that is called or lies as a known one and holds other bytes
is told, and begun anew.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from uuid import uuid4

import structlog

from tasks.extract.folder import shown
from tasks.extract.growing import Candidate, Growing
from tasks.followed import NOTHING, Followed, FollowedFile

log = structlog.get_logger(__name__)


async def recognise(
    kept: Followed,
    candidate: Candidate,
    there: Collection[str],
    *,
    ours: bool,
    lost: Callable[[str, str], None],
) -> Growing | None:
    """The file, to be read on where it was read to; None: nothing of it is to be read.

    `there`: the places of all files that lie in the folder; `ours`: its name is one of ours, so that it is
    begun if it is not known; `lost` is told the name of a file that became another one, and why.
    """
    name, place = shown(candidate.name), candidate.mark.place
    known = await kept.find(name, place)
    if found := await asyncio.to_thread(candidate.same_as, name, known, there):
        file, running = found
    else:
        await _told(kept, candidate, known, lost, ours=ours)
        new = await _begun(kept, candidate, known) if ours else None
        if new is None:
            return None
        file, running = new, sha256()
    if (file.inode, file.seen_as) != (place, name) or file.left:
        await kept.seen(file.file, name, place)
    return Growing(candidate, file, running)


async def _told(
    kept: Followed,
    candidate: Candidate,
    known: Sequence[FollowedFile],
    lost: Callable[[str, str], None],
    *,
    ours: bool,
) -> None:
    """Tell of what lay there and does no more: it holds other bytes than those that were read of it."""
    for was in known:
        if was.inode == candidate.mark.place and not was.left and was.reached.next:
            what_now = (
                "it is read from its beginning, as a new file"
                if ours
                else f"what came after its first {was.reached.next:,} bytes was not read"
            )
            why = f"{candidate.why_not(was)}: {what_now}"
            log.warning("a followed file is another one", path=was.path, reason=why)
            lost(shown(candidate.name), why)
            await kept.left(was.file)


async def _begun(kept: Followed, candidate: Candidate, known: Sequence[FollowedFile]) -> FollowedFile | None:
    """A file that is not known, begun at 0; None: another listener was faster."""
    name, place = shown(candidate.name), candidate.mark.place
    number = 1 + max((each.number for each in known if each.path == name), default=0)
    new = FollowedFile(
        file=uuid4(), path=name, number=number, inode=place, seen_as=name, left=False, reached=NOTHING
    )
    return new if await kept.begin(new) else None
