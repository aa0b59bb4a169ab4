"""Replay on a real Postgres: only it changes a verdict, once, and its books can be checked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from lineage import naming
from lineage.errors import VerificationError
from lineage.row_digest import columns_id
from tasks.again.replay import replay
from tasks.batch import RawBatch, Reference, Refined
from tasks.load.raw import pack, unpack
from tasks.load.store import Store
from tasks.look.rejected_queries import Which, list_rejected, open_batches, show_rejected
from tasks.tables.tables import digested_columns
from tests.fixtures.aggregates import prepared
from tests.fixtures.commit import CONTRACT, NOW, a_batch, message
from tests.fixtures.replay import TOPIC, House, a_house, sensors


@pytest.fixture
async def house(postgres_dsn: str) -> AsyncIterator[House]:
    async with a_house(postgres_dsn) as house:
        yield house


async def test_what_passes_today_is_stored_and_leads_back_to_its_bytes(house: House) -> None:
    first = await house.take(
        a_batch(message("a", 1), message("a", 2, temperature=150), message("a", 3, temperature=300))
    )
    (receipt,) = await house.replay(200.0)
    assert (receipt.read, receipt.accepted, receipt.rejected, receipt.way) == (
        2,
        {"sensor_readings": 1},
        1,
        "replay",
    )
    row = await house.pool.fetchrow("SELECT * FROM sensor_readings WHERE temperature = 150")
    assert (row["batch"], row["raw_batch"], row["sequence"]) == (receipt.batch, first.batch, 1)
    assert await house.pool.fetchval("SELECT count(*) FROM raw_batches") == 1
    records = {r["sequence"]: r for r in await house.pool.fetch("SELECT * FROM rejected")}
    assert (records[1]["resolved_by"], records[1]["attempts"]) == (receipt.batch, 1)
    assert (records[2]["resolved_by"], records[2]["attempts"], records[2]["batch"]) == (None, 2, first.batch)
    assert records[2]["message"] == "temperature is outside -50 to 200 °C."
    assert records[2]["contract"] == 200
    ledger = await house.pool.fetchrow("SELECT * FROM ledger WHERE batch = $1", receipt.batch)
    assert (ledger["raw_batch"], ledger["raw_digest"]) == (first.batch, None)
    assert ledger["received_at"] == NOW
    await house.books_hold()


async def test_the_outputs_and_the_lineage_of_a_replay(house: House) -> None:
    async with house.pool.acquire() as connection:
        await prepared(connection)
    first = await house.take(a_batch(message("a", 1, temperature=150), message("b", 1, temperature=300)))
    (receipt,) = await house.replay(200.0)
    output = await house.pool.fetchrow("SELECT * FROM ledger_outputs WHERE batch = $1", receipt.batch)
    assert (output["rows"], output["columns"]) == (1, columns_id(digested_columns(CONTRACT)))
    assert (
        await house.pool.fetchval("SELECT count(*) FROM store.change_marks WHERE batch = $1", receipt.batch)
        == 1
    )
    edges = await house.pool.fetch(
        "SELECT relationship_type, source_key, target_key, run_id, transformation_id FROM lineage_log "
        "WHERE batch = $1 ORDER BY number",
        receipt.batch,
    )
    raw = f"{first.dataset}#{first.batch}"
    found = {(e["relationship_type"], e["source_key"], e["target_key"]) for e in edges}
    assert ("FEEDS", raw, f"{naming.postgres('sensor_readings')}#{receipt.batch}") in found
    assert ("FEEDS", raw, f"{naming.postgres('rejected')}#{receipt.batch}") in found
    assert ("ABOUT", "device:a", naming.postgres("sensor_readings")) in found
    assert {(e["run_id"], e["transformation_id"]) for e in edges} == {(receipt.run_id, "sensors@200.0")}


async def test_a_second_replay_changes_nothing(house: House) -> None:
    await house.take(a_batch(message("a", 1, temperature=150), message("a", 2, temperature=300)))
    await house.replay(200.0)
    before = await house.picture()
    assert await house.replay(200.0) == []
    assert await house.picture() == before


async def test_a_newer_version_may_judge_again(house: House) -> None:
    await house.take(a_batch(message("a", 2, temperature=300)))
    for maximum, rejected in ((200.0, 1), (250.0, 1), (400.0, 0)):
        (receipt,) = await house.replay(maximum)
        assert receipt.rejected == rejected
        await house.books_hold()
    row = await house.pool.fetchrow("SELECT * FROM rejected")
    assert (row["attempts"], row["resolved_by"]) == (3, receipt.batch)
    shown = await show_rejected(house.pool, row["identity"].hex()[:8])
    assert [r["verdict"] for r in shown.replays] == ["rejected", "rejected", "accepted"]
    assert shown.payload == message("a", 2, temperature=300)[1]


async def test_a_dry_run_says_what_would_be_and_writes_nothing(house: House) -> None:
    first = await house.take(a_batch(message("a", 1, temperature=150), message("a", 2, temperature=300)))
    before = await house.picture()
    receipt = await replay(house.store, sensors(200.0), first.batch, dry_run=True)
    assert receipt is not None
    assert (receipt.accepted["sensor_readings"], receipt.rejected) == (1, 1)
    assert await house.picture() == before
    (real,) = await house.replay(200.0)
    assert (real.accepted, real.rejected) == (receipt.accepted, receipt.rejected)
    again = await house.take(a_batch(message("c", 1)))  # the log's chain goes on without a gap
    assert await house.pool.fetchval(
        "SELECT count(*) = max(number) FROM lineage_log WHERE writer = "
        "(SELECT writer FROM ledger WHERE batch = $1)",
        again.batch,
    )


async def test_only_the_chosen_records_are_judged(house: House) -> None:
    await house.take(
        a_batch(
            message("a", 1, temperature=150), message("a", 2, humidity=-1, temperature=150), (TOPIC, b"{")
        )
    )
    (receipt,) = await house.replay(200.0, Which(rule="humidity.range"))
    assert (receipt.read, receipt.rejected) == (1, 1)
    rows = await house.pool.fetch("SELECT attempts FROM rejected ORDER BY sequence")
    assert [row["attempts"] for row in rows] == [1, 2, 1]
    row = await house.pool.fetchrow("SELECT * FROM rejected WHERE sequence = 1")
    assert row["rules"] == ["humidity.range"]  # the temperature is fine today


async def test_a_record_stored_by_another_way_meanwhile_is_a_duplicate(house: House) -> None:
    wrong_topic = ("sensors/b/readings", message("a", 1)[1])
    await house.take(a_batch(wrong_topic))
    await house.take(a_batch(message("a", 1)))
    pipeline = sensors(200.0)

    async def any_topic(batch: RawBatch, reference: Reference) -> Refined:
        messages = batch.messages.with_columns(location=pl.lit(TOPIC))
        return await pipeline.refine(replace(batch, messages=messages), reference)

    (batch,) = await open_batches(house.pool, Which())
    receipt = await replay(house.store, replace(pipeline, refine=any_topic), batch.raw_batch)
    assert receipt is not None
    assert (receipt.read, receipt.duplicates, receipt.accepted["sensor_readings"]) == (1, 1, 0)
    assert await house.pool.fetchval("SELECT resolved_by FROM rejected") == receipt.batch
    await house.books_hold()


async def test_a_key_taken_meanwhile_is_a_conflict(house: House) -> None:
    await house.take(a_batch(message("a", 1, temperature=150)))
    await house.take(a_batch(message("a", 1, temperature=15)))
    (receipt,) = await house.replay(200.0)
    assert (receipt.accepted["sensor_readings"], receipt.rejected) == (0, 1)
    row = await house.pool.fetchrow("SELECT * FROM rejected")
    assert (row["stage"], row["rules"], row["attempts"]) == ("load", ["key.conflict"], 2)
    await house.books_hold()


async def test_two_records_of_one_key_and_what_they_say(house: House) -> None:
    same = message("a", 1, temperature=150)
    spaced = (same[0], same[1] + b" ")  # other bytes, the same reading
    other = message("a", 1, temperature=160)
    await house.take(a_batch(same, spaced, other))
    (receipt,) = await house.replay(200.0)
    assert (receipt.accepted["sensor_readings"], receipt.duplicates, receipt.rejected) == (1, 1, 1)
    verdicts = await house.pool.fetch("SELECT verdict FROM replays ORDER BY 1")
    assert [row["verdict"] for row in verdicts] == ["accepted", "duplicate", "rejected"]
    await house.books_hold()


async def test_the_clock_of_a_replay_is_the_original_one(house: House) -> None:
    batch = a_batch(message("a", 1, timestamp="2026-11-23T00:00:00Z"))
    await house.take(replace(batch, received_at=NOW - timedelta(days=1)))
    (receipt,) = await house.replay(200.0)  # today it would not be far in the future any more
    assert receipt.rejected == 1


async def test_what_was_replayed_is_a_duplicate_when_it_is_delivered_again(house: House) -> None:
    batch = a_batch(message("a", 1, temperature=150), message("a", 2, temperature=300))
    await house.take(batch)
    await house.replay(200.0)
    for again in (batch, replace(batch, may_repeat=True)):
        receipt = await house.take(again)
        assert (receipt.duplicates, receipt.rejected) == (2, 0)
    await house.books_hold()


async def test_two_replays_at_once_are_one(house: House) -> None:
    first = await house.take(
        a_batch(*(message("a", second, temperature=150 + second) for second in range(30)))
    )
    async with Store(house.dsn, house.pool, application="other") as other:
        outcomes = await asyncio.gather(
            *(replay(store, sensors(165.0), first.batch) for store in (house.store, other))
        )
    (receipt,) = [outcome for outcome in outcomes if outcome is not None]
    assert (receipt.accepted["sensor_readings"], receipt.rejected) == (16, 14)
    await house.books_hold()


async def test_a_replay_cut_before_its_commit_leaves_no_trace(house: House) -> None:
    first = await house.take(a_batch(message("a", 1, temperature=150)))
    before = await house.picture()
    await house.pool.execute(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN new; END $$"
    )
    await house.pool.execute(
        "CREATE TRIGGER cut BEFORE INSERT ON store.ledger FOR EACH ROW EXECUTE FUNCTION cut()"
    )
    with pytest.raises(Exception, match="unavailable"):
        await replay(house.store, sensors(200.0), first.batch)
    await house.pool.execute("DROP TRIGGER cut ON store.ledger")
    assert await house.picture() == before
    (receipt,) = await house.replay(200.0)
    assert receipt.accepted["sensor_readings"] == 1


async def test_a_replay_that_stores_nothing_is_in_the_log_too(house: House) -> None:
    topic, body = message("a", 1, temperature=150)
    first = await house.take(a_batch((topic, body)))
    second = await house.take(a_batch((topic, body + b" ")))
    current = sensors(200.0)
    receipts = [await replay(house.store, current, each.batch) for each in (first, second)]
    assert [each and (each.accepted["sensor_readings"], each.duplicates) for each in receipts] == [
        (1, 0),
        (0, 1),
    ]
    unlogged = "SELECT count(*) FROM ledger WHERE batch NOT IN (SELECT batch FROM lineage_log)"
    assert await house.pool.fetchval(unlogged) == 0
    await house.books_hold()


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE store.replays SET verdict = 'duplicate' WHERE verdict = 'accepted'", "what is said"),
        ("UPDATE store.replays SET rules_before = '{x}' WHERE verdict = 'rejected'", "what is said"),
        ("UPDATE store.rejected SET message = 'x' WHERE resolved_by IS NULL", "what is said"),
        ("DELETE FROM store.replays WHERE verdict = 'accepted'", "other attempts or another end"),
    ],
)
async def test_tampering_with_verdicts_is_found(house: House, statement: str, sentence: str) -> None:
    await house.take(a_batch(*(message("a", second, temperature=150 * second) for second in (1, 2, 3))))
    await house.replay(200.0)
    await house.replay(320.0)
    await house.books_hold()
    await house.pool.execute("ALTER TABLE store.replays DISABLE TRIGGER USER")
    await house.pool.execute(statement)
    with pytest.raises(VerificationError, match=sentence):
        await house.books_hold()


async def test_an_erased_message_is_left_alone(house: House) -> None:
    first = await house.take(a_batch(message("a", 1, temperature=150), message("a", 2, temperature=150)))
    messages = unpack(await house.pool.fetchval("SELECT messages FROM raw_batches"))
    erased = pl.Series("payload", [None, messages["payload"][1]], dtype=pl.Binary)
    await house.pool.execute(
        "UPDATE store.raw_batches SET messages = $1", pack(messages.with_columns(erased))
    )
    receipt = await replay(house.store, sensors(200.0), first.batch)
    assert receipt is not None
    assert receipt.read == 1
    assert await house.pool.fetchval("SELECT resolved_by FROM rejected WHERE sequence = 0") is None


async def test_the_list_tells_the_true_total(house: House) -> None:
    await house.take(a_batch(*(message("a", second, temperature=150) for second in range(9)), (TOPIC, b"{")))
    listed = await list_rejected(house.pool, Which(), 3)
    assert (len(listed.records), listed.total) == (3, 10)
    assert (await list_rejected(house.pool, Which(rule="payload.json"), 3)).total == 1
    assert (await list_rejected(house.pool, Which(stage="validate"), 100)).total == 9
    assert (await list_rejected(house.pool, Which(dataset="mqtt:other"), 3)).total == 0
    await house.replay(200.0)
    assert (await list_rejected(house.pool, Which(), 3)).total == 1
    assert (await list_rejected(house.pool, Which(resolved=True), 3)).total == 10
