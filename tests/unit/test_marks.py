"""A batch at the marks of its source: where it is, how it is cut, and where an overtaken one is read on."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lineage.errors import RejectedError
from tasks.batch import MESSAGE_SCHEMA, Advance, RawBatch
from tasks.extract.progress import Progress
from tasks.extract.stream import Listening, Places

NOW = datetime.now(UTC)


def listening(kept: Mapping[str, str]) -> Listening:
    async def read() -> Mapping[str, str]:
        return kept

    unused: Any = None
    progress = Progress(read=read, begin=unused, go_on=unused)
    places = Places(url=unused, mqtt=unused, kafka=unused, files=Path())
    return Listening(
        pipeline="numbers",
        dataset="notes:a",
        client_id="test",
        places=places,
        progress=progress,
        followed=unused,
        uncommitted=unused,
        tell=unused,
    )


def messages(*payloads: bytes) -> pl.DataFrame:
    return pl.DataFrame({"location": ["a"] * len(payloads), "payload": payloads}, MESSAGE_SCHEMA)


def halves(batch: RawBatch) -> tuple[RawBatch, RawBatch]:
    two = batch.halve and batch.halve()
    assert two
    return two


async def test_halves_check_the_marks_and_the_last_one_moves_them() -> None:
    given = listening({"a": "3", "b": "7"})
    await given.marks()
    batch = given.batch(messages(b"x", b"x", b"x", b"x"), {"a": "5", "b": "8", "new": "1"}, NOW)
    assert batch.progress == (Advance("3", "5", "a"), Advance("7", "8", "b"), Advance(None, "1", "new"))
    first, second = halves(batch)
    assert first.progress == (Advance("3", "3", "a"), Advance("7", "7", "b"))
    assert second.progress == batch.progress
    quarters = [*halves(first), *halves(second)]
    assert [each.progress for each in quarters] == [first.progress] * 3 + [batch.progress]
    assert all(each.halve and each.halve() is None for each in quarters)
    places = [str(each.position) for each in (batch, first, second, *quarters)]
    assert len(set(places)) == 7  # though the bytes are the same


async def test_what_comes_before_there_is_a_mark_has_no_position_of_its_own() -> None:
    given = listening({})
    await given.marks()
    first, second = halves(given.batch(messages(b"1", b"2"), {"": "2"}, NOW))
    assert (first.progress, first.position) == ((), None)
    assert second.position is not None
    assert second.position.detail["mark"] == [None, "2"]
    assert given.batch(messages(b"3"), {}, NOW).position is None  # whoever sends keeps it


async def test_reading_goes_on_at_what_is_kept_once_overtaken_and_only_once() -> None:
    kept = {"": "3"}
    given = listening(kept)
    assert await given.marks() == {"": "3"}
    first, second = (given.batch(messages(b"x"), {"": mark}, NOW) for mark in ("4", "5"))
    assert await given.marks() == {"": "5"}
    kept[""] = "9"
    await first.abandon()
    assert await given.marks() == {"": "9"}
    given.batch(messages(b"x"), {"": "10"}, NOW)
    await second.abandon()  # it was read before reading began again
    assert await given.marks() == {"": "10"}
    with pytest.raises(RejectedError, match="notes:a gave a batch whose mark is '10', as before: mend it"):
        given.batch(messages(b"x"), {"": "10"}, NOW)
