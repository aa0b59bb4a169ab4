"""Reprocess and replay over records that share a key: each ends where today's code says, once."""

from collections.abc import AsyncIterator
from dataclasses import replace

import polars as pl
import pytest

from lineage import naming
from tasks.again.replay import replay
from tasks.batch import MESSAGE_SCHEMA, Format, Layout, RawBatch, Reference, Refined
from tests.fixtures.commit import NOW, message
from tests.fixtures.recall import House, a_house
from tests.fixtures.replay import sensors

STORED = "SELECT temperature FROM sensor_readings ORDER BY 1"
OPEN = "SELECT sequence, rules FROM rejected WHERE resolved_by IS NULL ORDER BY sequence, part"
TOO_WARM, CONFLICT = ["temperature.range"], ["key.conflict"]


@pytest.fixture
async def house(postgres_dsn: str) -> AsyncIterator[House]:
    async with a_house(postgres_dsn) as house:
        yield house


async def replayed(house: House, raw_batch: int, maximum: float) -> int | None:
    """How many records a replay accepts; None: it has nothing to judge."""
    receipt = await replay(house.way.store, sensors(maximum), raw_batch)
    return None if receipt is None else receipt.accepted["sensor_readings"]


def a_file(*temperatures: float) -> RawBatch:
    """Lines of one key."""
    lines = b"".join(message("a", 1, temperature=each)[1] + b"\n" for each in temperatures)
    return RawBatch(
        dataset=naming.file("a.ndjson"),
        messages=pl.DataFrame([("a.ndjson:1", lines)], schema=MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
        layout=Layout(format=Format.NDJSON),
    )


async def test_a_rival_that_waits_does_not_take_the_key_of_one_that_is_withdrawn(house: House) -> None:
    first = await house.take(message("a", 1, temperature=60.0), message("a", 1, temperature=20.0))
    assert await house.fetch(OPEN) == [(1, CONFLICT)]
    done = await house.reprocess(first.batch, sensors(50.0))
    assert (done.changes["sensor_readings"].withdrawn, done.rejected) == (1, 1)
    assert await house.fetch(STORED) == []
    assert await house.fetch(OPEN) == [(0, TOO_WARM), (1, CONFLICT)]
    await house.proves()
    assert await replayed(house, first.batch, 50.0) == 1
    assert await house.fetch(STORED) == [(20.0,)]
    assert await house.fetch(OPEN) == [(0, TOO_WARM)]
    await house.proves()


async def test_a_valid_reading_takes_its_key_once_it_is_free(house: House) -> None:
    """Judged by the same version before, when the key was taken: it must not wait for ever."""
    first = await house.take(message("a", 1, temperature=60.0), message("a", 1, temperature=20.0))
    tight = sensors(50.0)
    receipt = await replay(house.way.store, tight, first.batch)
    assert receipt is not None
    assert receipt.rejected == 1  # the key is taken
    await house.reprocess(first.batch, tight)
    assert await replayed(house, first.batch, 50.0) == 1
    assert await house.fetch(STORED) == [(20.0,)]
    assert await house.fetch(OPEN) == [(0, TOO_WARM)]
    await house.proves()


async def test_a_replay_that_finds_the_key_taken_as_before_writes_nothing(house: House) -> None:
    first = await house.take(message("a", 1, temperature=60.0), message("a", 1, temperature=20.0))
    await replay(house.way.store, sensors(90.0), first.batch)
    before = await house.picture()
    assert await replayed(house, first.batch, 90.0) is None
    assert await house.picture() == before


async def test_lines_of_a_file_are_judged_without_those_that_are_not_at_issue(house: House) -> None:
    first = await house.way.take(a_file(60.0, 20.0, 30.0))
    assert (first.accepted, first.rejected) == ({"sensor_readings": 1}, 2)
    await house.reprocess(first.batch, sensors(50.0))
    assert await house.fetch(STORED) == []
    assert await house.fetch(OPEN) == [(0, TOO_WARM), (0, CONFLICT), (0, CONFLICT)]
    assert await replayed(house, first.batch, 50.0) == 1
    assert await house.fetch(STORED) == [(20.0,)]
    await house.reprocess(first.batch, sensors(50.0))
    assert await replayed(house, first.batch, 50.0) is None
    assert await house.fetch(STORED) == [(20.0,)]
    await house.proves()


async def test_a_chosen_line_of_a_file_takes_a_key_that_is_free(house: House) -> None:
    first = await house.way.take(a_file(60.0, 20.0))
    await house.reprocess(first.batch, sensors(50.0))
    chosen = await house.value("SELECT identity FROM rejected WHERE rules = '{key.conflict}'")
    receipt = await replay(house.way.store, sensors(100.0), first.batch, [chosen])
    assert receipt is not None
    assert receipt.accepted == {"sensor_readings": 1}
    assert await house.fetch(STORED) == [(20.0,)]
    await house.proves()


async def test_a_row_that_moves_to_a_taken_key_is_rejected_and_not_lost(house: House) -> None:
    first = await house.take(message("a", 1, temperature=10.0))
    second = await house.take(message("a", 2, temperature=20.0))
    pipeline = sensors(100.0)

    async def refine(batch: RawBatch, reference: Reference) -> Refined:
        payloads = [each.replace(b":01Z", b":02Z") for each in batch.messages["payload"]]
        messages = batch.messages.with_columns(payload=pl.Series(payloads, dtype=pl.Binary))
        return await pipeline.refine(replace(batch, messages=messages), reference)

    done = await house.reprocess(first.batch, replace(pipeline, refine=refine))
    assert done.rejected == 1
    assert await house.fetch("SELECT batch, temperature FROM sensor_readings") == [(second.batch, 20.0)]
    assert await house.fetch("SELECT raw_batch, rules FROM rejected") == [(first.batch, CONFLICT)]
    await house.proves()


async def test_what_said_the_same_is_rejected_too_when_todays_rules_refuse_both(house: House) -> None:
    topic, body = message("a", 1, temperature=60.0)
    first = await house.take((topic, body), (topic, body + b" "))
    assert first.duplicates == 1
    await house.reprocess(first.batch, sensors(50.0))
    assert await house.fetch(OPEN) == [(0, TOO_WARM), (1, TOO_WARM)]
    await house.proves()
    receipt = await replay(house.way.store, sensors(70.0), first.batch)
    assert receipt is not None
    assert (receipt.accepted["sensor_readings"], receipt.duplicates) == (1, 1)
    assert await house.fetch(OPEN) == []
    await house.proves()


async def test_a_repetition_of_what_stands_elsewhere_is_left_alone(house: House) -> None:
    warm = message("a", 1, temperature=60.0)
    await house.take(warm)
    second = await house.take(warm, message("b", 1))
    done = await house.reprocess(second.batch, sensors(50.0))
    assert done.rejected == 0
    assert await house.fetch(STORED) == [(20.5,), (60.0,)]
    await house.proves()


async def test_a_rival_of_its_batch_does_not_keep_a_record_from_being_what_is_stored(house: House) -> None:
    await house.take(message("a", 1, temperature=20.0))
    topic, body = message("a", 1, temperature=20.0)
    second = await house.take(
        (topic, body.replace(b"20.0", b"120.0")), (topic, body.replace(b"20.0", b"220.0"))
    )
    pipeline = sensors(300.0)

    async def refine(batch: RawBatch, reference: Reference) -> Refined:
        """The second one says today what is stored."""
        payloads = [each.replace(b"220.0", b"20.0") for each in batch.messages["payload"]]
        messages = batch.messages.with_columns(payload=pl.Series(payloads, dtype=pl.Binary))
        return await pipeline.refine(replace(batch, messages=messages), reference)

    receipt = await replay(house.way.store, replace(pipeline, refine=refine), second.batch)
    assert receipt is not None
    assert (receipt.rejected, receipt.duplicates) == (1, 1)
    assert await house.fetch(OPEN) == [(0, CONFLICT)]
    await house.proves()


async def test_records_that_say_the_same_share_the_verdict_of_a_taken_key(house: House) -> None:
    topic, body = message("a", 1, temperature=20.0)
    warm = message("a", 1, temperature=60.0)
    first = await house.take(warm, (topic, body), (topic, body + b" "))
    assert await house.fetch(OPEN) == [(1, CONFLICT), (2, CONFLICT)]
    await replay(house.way.store, sensors(90.0), first.batch)
    assert await house.fetch(OPEN) == [(1, CONFLICT), (2, CONFLICT)]
    await house.reprocess(first.batch, sensors(90.0))
    assert await replayed(house, first.batch, 90.0) is None
    assert await house.fetch(OPEN) == [(1, CONFLICT), (2, CONFLICT)]
    await house.proves()
