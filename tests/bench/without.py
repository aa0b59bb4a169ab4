"""What a listener of the bench can do without, to see what it costs. For measuring only: nothing proves then.

`lineage`: edges, the hash chain, who it is about. `proof`: a digest per message and one of the rows.
"""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from lineage.digest import DIGEST_BYTES
from lineage.log import Span
from tasks.load import commit, raw


async def _no_lineage(session: Any, *_: Any) -> Span:
    writer = session.writer
    return Span(writer.id, writer.last + 1, writer.last, writer.head)


async def _no_subjects(*_: Any) -> list[Any]:
    return []


class _NoDigest:
    def update(self, _rows: bytes) -> None:
        """Nothing is computed."""

    def digest(self) -> bytes:
        return bytes(DIGEST_BYTES)


def _without_lineage() -> None:
    commit._write_lineage = _no_lineage
    commit._new_subjects = _no_subjects


def _without_proof() -> None:
    raw.digests_of = lambda messages: pl.repeat("00" * DIGEST_BYTES, messages.height, eager=True)
    commit.digest_of = lambda *_: _NoDigest()


PARTS: Mapping[str, Callable[[], None]] = {"lineage": _without_lineage, "proof": _without_proof}
