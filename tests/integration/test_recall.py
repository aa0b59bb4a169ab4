"""Recall on real services: out of the views, back in, made again; the proof holds after each."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from flows.acts.recall import recalled_tables
from infra.local.addresses import Address
from tasks.again.changes import Changes, add
from tasks.again.recall import Selection
from tasks.again.replay import replay
from tasks.batch import RawBatch, Reference, Refined
from tests.fixtures.aggregates import NOW, at, prepared, reading
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import CONTRACT
from tests.fixtures.proof import a_house as a_proven
from tests.fixtures.recall import TODAY, House, a_house, warmer
from tests.fixtures.replay import sensors

KEYS = "SELECT device_id FROM sensor_readings ORDER BY 1"


@pytest.fixture
async def house(postgres_dsn: str) -> AsyncIterator[House]:
    async with a_house(postgres_dsn) as house:
        yield house


A = Selection(device="a")


async def test_what_is_in_quarantine_is_stored_and_not_published(house: House) -> None:
    first = await house.take(reading("a", at(1)), reading("a", at(3)), reading("b", at(1)))
    early = replace(A, until=at(2))
    assert await house.act("quarantine", early) == 1
    assert await house.fetch(
        'SELECT device_id, extract(hour FROM "timestamp")::int FROM sensor_readings'
    ) == [
        ("a", 3),
        ("b", 1),
    ]
    assert await house.value("SELECT count(*) FROM store.sensor_readings") == 3
    (row,) = await house.fetch(
        "SELECT q.key, q.batch, q.released, r.reason, r.by_whom, l.way "
        "FROM quarantine q JOIN recalls r USING (act) JOIN ledger l ON l.batch = q.act"
    )
    key = '{"device_id":"a","timestamp":"2026-11-20T01:00:00.000000Z"}'
    assert row == (key, first.batch, False, "a bad probe", "ada", "quarantine")
    await house.proves()


async def test_the_act_is_append_only_and_in_the_lineage(house: House) -> None:
    first = await house.take(reading("a", at(1)))
    await house.act("quarantine", A)
    for table in ("quarantine", "recalls"):
        with pytest.raises(Exception, match="append-only"):
            await house.connection.execute(f"DELETE FROM store.{table}")
    edges = await house.fetch(
        "SELECT source_key, target_key FROM lineage_log WHERE relationship_type = 'FEEDS' "
        "AND target_key LIKE 'postgres:quarantine#%'"
    )
    act = await house.value("SELECT act FROM quarantine")
    assert edges == [(f"postgres:sensor_readings#{first.batch}", f"postgres:quarantine#{act}")]


async def test_quarantine_survives_redelivery(house: House) -> None:
    bad, good = reading("a", at(1)), reading("b", at(1))
    await house.take(bad, good)
    await house.act("quarantine", A)
    for may_repeat in (False, True):
        receipt = await house.take(bad, good, may_repeat=may_repeat)
        assert receipt.duplicates == 2
    assert await house.fetch(KEYS) == [("b",)]
    await house.take(reading("a", at(1), temperature=1.0))  # other values: rejected as ever
    assert await house.fetch(KEYS) == [("b",)]
    await house.proves()


async def test_aggregates_leave_out_what_is_in_quarantine(house: House) -> None:
    await house.take(
        reading("a", at(1), temperature=90.0),
        reading("a", at(1, 30), temperature=20.0),
        reading("b", at(1), temperature=10.0),
        reading("b", at(2), temperature=11.0),
    )
    assert await house.refresh() == 2
    await house.act("quarantine", replace(A, until=at(1, 30)))
    assert await house.refresh() == 1
    means = (
        "SELECT device_id, readings, temperature_mean FROM sensor_readings_hourly ORDER BY device_id, hour"
    )
    assert await house.fetch(means) == [("a", 1, 20.0), ("b", 1, 10.0), ("b", 1, 11.0)]
    await house.act("quarantine", A)
    await house.refresh()
    assert await house.fetch(means) == [("b", 1, 10.0), ("b", 1, 11.0)]
    await house.proves()


async def test_a_release_puts_rows_back(house: House) -> None:
    await house.take(reading("a", at(1)), reading("a", at(2)))
    await house.act("quarantine", A)
    await house.refresh()
    assert await house.act("release", replace(A, since=at(2))) == 1
    assert await house.refresh() == 1
    assert await house.fetch("SELECT extract(hour FROM hour)::int FROM sensor_readings_hourly") == [(2,)]
    assert await house.value("SELECT count(*) FROM sensor_readings") == 1
    assert await house.fetch("SELECT released FROM quarantine ORDER BY act, key") == [
        (False,),
        (False,),
        (True,),
    ]
    assert await house.act("quarantine", A) == 1  # and may go out again
    await house.proves()


async def test_a_second_quarantine_and_a_dry_run_change_nothing(house: House) -> None:
    await house.take(reading("a", at(1)))
    before = await house.picture()
    assert await house.act("quarantine", A, dry_run=True) == 1
    assert await house.picture() == before
    await house.act("quarantine", A)
    before = await house.picture()
    assert await house.act("quarantine", A) == 0
    assert await house.picture() == before


async def test_what_a_recall_is_about(house: House) -> None:
    one = await house.take(reading("a", at(1)), reading("a", at(1, 30)), reading("b", at(1)))
    two = await house.take(reading("a", at(2)))
    await house.refresh()
    await house.act("quarantine", replace(A, since=at(2)))
    scope = await house.scope(A)
    (table,) = scope.tables
    assert (table.rows, table.quarantined, table.hours, table.batches) == (3, 1, 2, 2)
    assert scope.aggregates == {"sensor_readings_hourly": 2}
    assert scope.transformations == {"sensors@0": 3}
    assert scope.raw_batches == [one.batch, two.batch]
    for selection, rows in (
        (Selection(batch=one.batch), 3),
        (Selection(batch=two.batch, device="b"), 0),
        (Selection(transformation="sensors@0"), 4),
        (Selection(transformation="sensors@1"), 0),
        (Selection(device="a", since=at(1, 30), until=at(2)), 1),
        (Selection(experiment="a"), 0),
    ):
        assert sum(each.rows for each in (await house.scope(selection)).tables) == rows


async def test_reprocess_makes_new_revisions_and_keeps_the_old(house: House) -> None:
    first = await house.take(reading("a", at(1)), reading("b", at(2), temperature=30.0))
    await house.refresh()
    done = await house.reprocess(first.batch)
    assert done.receipt is not None
    batch = done.receipt.batch
    changes = done.changes["sensor_readings"]
    assert (changes.changed, changes.unchanged, changes.columns) == (2, 0, {"temperature": 2})
    assert changes.examples[0].columns == {"temperature": (20.5, 21.5)}
    assert await house.fetch(
        "SELECT temperature, batch, raw_batch, sequence FROM sensor_readings ORDER BY device_id"
    ) == [(21.5, batch, first.batch, 0), (31.0, batch, first.batch, 1)]
    assert await house.fetch(
        "SELECT temperature, batch, replaced_by FROM store.sensor_readings_history ORDER BY device_id"
    ) == [(20.5, first.batch, batch), (30.0, first.batch, batch)]
    (ledger,) = await house.fetch(
        "SELECT way, raw_batch, raw_digest, accepted FROM ledger WHERE batch = $1", batch
    )
    assert ledger == ("reprocess", first.batch, None, 2)
    edge = (f"{first.dataset}#{first.batch}", f"postgres:sensor_readings#{batch}")
    assert edge in await house.fetch("SELECT source_key, target_key FROM lineage_log WHERE batch = $1", batch)
    assert await house.refresh() == 2
    assert await house.fetch("SELECT temperature_mean FROM sensor_readings_hourly ORDER BY hour") == [
        (21.5,),
        (31.0,),
    ]
    await house.proves()


async def test_reprocess_again_and_a_dry_run_change_nothing(house: House) -> None:
    first = await house.take(reading("a", at(1)), reading("b", at(2)))
    before = await house.picture()
    dry = await house.reprocess(first.batch, dry_run=True)
    assert dry.changes["sensor_readings"].changed == 2
    assert await house.picture() == before
    await house.reprocess(first.batch)
    before = await house.picture()
    again = await house.reprocess(first.batch)
    assert again.receipt is None
    assert not again.changes["sensor_readings"].any
    assert await house.picture() == before


async def test_a_newer_version_that_says_the_same_is_recorded_once(house: House) -> None:
    first = await house.take(reading("a", at(1)))
    same = warmer(sensors(100.0), 0.0, "same")
    done = await house.reprocess(first.batch, same)
    assert done.receipt is not None
    assert (done.receipt.duplicates, done.receipt.accepted) == (1, {"sensor_readings": 0})
    assert (await house.reprocess(first.batch, same)).receipt is None
    assert await house.value("SELECT batch FROM sensor_readings") == first.batch
    await house.proves()


async def test_only_what_differs_is_made_again(house: House) -> None:
    first = await house.take(reading("a", at(1)), reading("b", at(1)), reading("c", at(1)))

    async def refine(batch: RawBatch, reference: Reference) -> Refined:
        refined = await sensors(100.0).refine(batch, reference)
        mended = pl.when(pl.col("device_id") == "b").then(0.0).otherwise("temperature").alias("temperature")
        return replace(
            refined, accepted={t: rows.with_columns(mended) for t, rows in refined.accepted.items()}
        )

    done = await house.reprocess(first.batch, replace(TODAY, refine=refine))
    changes = done.changes["sensor_readings"]
    assert (changes.changed, changes.unchanged) == (1, 2)
    assert await house.fetch("SELECT device_id FROM store.sensor_readings_history") == [("b",)]
    await house.proves()


async def test_what_todays_rules_reject_is_withdrawn(house: House) -> None:
    messages = reading("a", at(1), temperature=90.0), reading("b", at(1))
    first = await house.take(*messages)
    await house.refresh()
    done = await house.reprocess(first.batch, sensors(50.0))
    assert (done.changes["sensor_readings"].withdrawn, done.rejected) == (1, 1)
    assert await house.fetch(KEYS) == [("b",)]
    assert await house.fetch("SELECT raw_batch, sequence, rules FROM rejected") == [
        (first.batch, 0, ["temperature.range"])
    ]
    assert await house.value("SELECT temperature FROM store.sensor_readings_history") == 90.0
    await house.refresh()
    assert await house.value("SELECT count(*) FROM sensor_readings_hourly") == 1
    receipt = await house.take(*messages, may_repeat=True)
    assert (receipt.duplicates, receipt.rejected) == (2, 0)
    assert (await house.reprocess(first.batch, sensors(50.0))).receipt is None
    await house.proves()
    back = await replay(house.way.store, sensors(100.0), first.batch)  # the rules are widened again
    assert back is not None
    assert back.accepted == {"sensor_readings": 1}
    assert await house.fetch(KEYS) == [("a",), ("b",)]
    await house.proves()


async def test_a_record_withdrawn_again_is_open_again_and_can_come_back(house: House) -> None:
    """Rejected, accepted by a replay, and withdrawn: it must not be lost between the tables."""
    first = await house.take(reading("a", at(1), temperature=150.0), reading("b", at(1)))
    verdict = "SELECT resolved_by, attempts, contract FROM rejected"
    for attempts, (wide, narrow) in enumerate(((200.0, 100.0), (300.0, 90.0), (200.0, 100.0)), start=2):
        back = await replay(house.way.store, sensors(wide), first.batch)
        assert back is not None
        assert await house.fetch(KEYS) == [("a",), ("b",)]
        done = await house.reprocess(first.batch, sensors(narrow))
        assert (done.changes["sensor_readings"].withdrawn, done.rejected) == (1, 1)
        assert await house.fetch(KEYS) == [("b",)]
        assert await house.fetch(verdict) == [(None, attempts, int(narrow))]
        assert await replay(house.way.store, sensors(narrow), first.batch) is None
        before = await house.picture()
        assert (await house.reprocess(first.batch, sensors(narrow))).receipt is None
        assert await house.picture() == before
        await house.proves()


async def test_a_replayed_row_whose_key_is_read_otherwise_moves_too(house: House) -> None:
    first = await house.take(reading("a", at(1), temperature=150.0), reading("b", at(1)))
    await replay(house.way.store, sensors(200.0), first.batch)

    async def refine(batch: RawBatch, reference: Reference) -> Refined:
        refined = await sensors(200.0).refine(batch, reference)
        moved = pl.col("timestamp") + timedelta(hours=1)
        return replace(
            refined,
            accepted={t: rows.with_columns(timestamp=moved) for t, rows in refined.accepted.items()},
        )

    await house.reprocess(first.batch, replace(TODAY, refine=refine))
    rows = 'SELECT device_id, "timestamp" FROM sensor_readings ORDER BY 1'
    assert await house.fetch(rows) == [("a", at(2)), ("b", at(2))]
    await house.proves()


async def test_a_key_that_is_read_otherwise_today_moves_its_row(house: House) -> None:
    first = await house.take(reading("a", at(1)), reading("b", at(1)))

    async def refine(batch: RawBatch, reference: Reference) -> Refined:
        refined = await sensors(100.0).refine(batch, reference)
        moved = pl.col("timestamp") + timedelta(hours=1)
        return replace(
            refined,
            accepted={t: rows.with_columns(timestamp=moved) for t, rows in refined.accepted.items()},
        )

    done = await house.reprocess(first.batch, replace(TODAY, refine=refine))
    changes = done.changes["sensor_readings"]
    assert (changes.changed, changes.new, changes.withdrawn) == (0, 2, 2)
    assert await house.fetch('SELECT DISTINCT "timestamp" FROM sensor_readings') == [(at(2),)]
    await house.refresh()
    assert await house.fetch("SELECT DISTINCT hour FROM sensor_readings_hourly") == [(at(2),)]
    await house.proves()


async def test_another_batch_s_rows_and_rejected_records_are_left_alone(house: House) -> None:
    one = await house.take(reading("a", at(1)), reading("b", at(1), temperature=150.0))
    two = await house.take(reading("a", at(1)), reading("a", at(1), temperature=3.0), reading("c", at(1)))
    assert (two.duplicates, two.rejected) == (1, 1)
    wide = warmer(sensors(200.0), 1.0, "wide")
    done = await house.reprocess(two.batch, wide)
    assert done.changes["sensor_readings"].changed == 1
    assert await house.value("SELECT batch FROM sensor_readings WHERE device_id = 'a'") == one.batch
    done = await house.reprocess(one.batch, wide)
    assert done.changes["sensor_readings"].changed == 1
    assert await house.value("SELECT count(*) FROM sensor_readings WHERE device_id = 'b'") == 0
    assert await house.value("SELECT count(*) FROM rejected WHERE resolved_by IS NULL") == 2
    await house.proves()


async def test_a_row_in_quarantine_stays_there_when_it_is_made_again(house: House) -> None:
    first = await house.take(reading("a", at(1)), reading("b", at(1)))
    await house.act("quarantine", A)
    await house.reprocess(first.batch)
    assert await house.fetch(KEYS) == [("b",)]
    assert await house.act("release", A) == 1
    assert await house.fetch("SELECT temperature FROM sensor_readings") == [(21.5,), (21.5,)]
    await house.proves()


async def test_an_act_cut_before_its_commit_leaves_no_trace(house: House) -> None:
    first = await house.take(reading("a", at(1)))
    before = await house.picture()
    await house.connection.execute(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN new; END $$"
    )
    await house.connection.execute(
        "CREATE TRIGGER cut BEFORE INSERT ON store.ledger FOR EACH ROW EXECUTE FUNCTION cut()"
    )
    with pytest.raises(Exception, match="unavailable"):
        await house.act("quarantine", A)
    with pytest.raises(Exception, match="unavailable"):
        await house.reprocess(first.batch)
    await house.connection.execute("DROP TRIGGER cut ON store.ledger")
    assert await house.picture() == before
    assert await house.act("quarantine", A) == 1
    assert (await house.reprocess(first.batch)).receipt is not None
    await house.proves()


async def test_the_view_still_uses_the_index(house: House) -> None:
    await house.take(*(reading("a", at(1, minute)) for minute in range(60)))
    await house.act("quarantine", A)
    plan = await house.fetch(
        'EXPLAIN SELECT * FROM sensor_readings WHERE device_id = $1 AND "timestamp" = $2', "a", at(1, 5)
    )
    text = "\n".join(line for (line,) in plan)
    assert text.count("_pkey") == 2  # one partition of the table, and the keys in quarantine
    assert "Seq Scan" not in text


async def test_the_proof_holds_on_both_graphs(postgres_dsn: str, graph: Address) -> None:
    async with a_proven(postgres_dsn, graph) as proven:
        house = House(proven.way, proven.connection)
        await prepared(house.connection)
        first = await house.take(reading("a", at(1)), reading("b", at(2), temperature=90.0))
        await house.refresh()
        await house.act("quarantine", A)
        await house.reprocess(first.batch, warmer(sensors(50.0), 1.0, "both"))
        await house.refresh()
        await house.act("release", A)
        await house.refresh()
        proof = await proven.prove()
        assert proof.ok, proof.differences
        rows = await proven.graph.read(
            "MATCH (:Batch {key: $key})-[:FEEDS*]->(b:Batch) RETURN DISTINCT b.dataset AS dataset ORDER BY 1",
            {"key": f"{first.dataset}#{first.batch}"},
        )
        assert {row["dataset"] for row in rows} >= {"postgres:quarantine", "postgres:sensor_readings_hourly"}
        assert not await proven.graph.read(
            "MATCH (d:Dataset {key: 'postgres:quarantine'})-[:FEEDS]->(e) RETURN e.key AS key", {}
        )


KEY_OF_A = '{"device_id":"a","timestamp":"2026-11-20T01:00:00.000000Z"}'
TAMPERINGS = {
    "a row put back in silence": (
        "sensor_readings",
        "DELETE FROM store.sensor_readings_quarantine WHERE device_id = 'a'",
        f"sensor_readings_quarantine: {KEY_OF_A} is out by no act, and by act 3 in the record",
    ),
    "a row taken out in silence": (
        "sensor_readings",
        "INSERT INTO store.sensor_readings_quarantine SELECT 'b', timestamp, 3 FROM store.sensor_readings "
        "WHERE device_id = 'b'",
        'sensor_readings_quarantine: {"device_id":"b","timestamp":"2026-11-20T02:00:00.000000Z"} is out by '
        "act 3, and by no act in the record",
    ),
    "another act": (
        "sensor_readings",
        "UPDATE store.sensor_readings_quarantine SET act = 1",
        f"sensor_readings_quarantine: {KEY_OF_A} is out by act 1, and by act 3 in the record",
    ),
    "an edited row": (
        "quarantine",
        "UPDATE store.quarantine SET batch = 9",
        "quarantine, batch 3: who did it",
    ),
    "another reason": (
        "recalls",
        "UPDATE store.recalls SET reason = 'a whim'",
        "quarantine, batch 3: who did",
    ),
    "another person": ("recalls", "UPDATE store.recalls SET by_whom = 'eve'", "quarantine, batch 3: who did"),
    "a deleted row": (
        "quarantine",
        "DELETE FROM store.quarantine",
        "quarantine, batch 3: who did it, why or",
    ),
    "a row of an act nobody did": (
        "quarantine",
        "INSERT INTO store.quarantine SELECT 2, table_name, key, batch, true FROM store.quarantine",
        "quarantine: rows of batch 2, which is no such act in the ledger",
    ),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
async def test_tampering_with_a_quarantine_is_found_and_named(
    postgres_dsn: str, graph_address: Address, kind: str
) -> None:
    async with a_proven(postgres_dsn, graph_address) as proven:
        house = House(proven.way, proven.connection)
        await prepared(house.connection)
        await house.take(reading("a", at(1)), reading("b", at(2)))
        await house.refresh()
        await house.act("quarantine", A)
        await house.refresh()
        assert (await proven.prove()).differences == ()
        table, statement, sentence = TAMPERINGS[kind]
        await house.connection.execute("SET session_replication_role = replica")
        await proven.tamper(table, statement)
        assert any(each.startswith(sentence) for each in (await proven.prove()).differences)


def test_the_selection_must_choose() -> None:
    with pytest.raises(Exception, match="what to recall"):
        Selection(since=NOW)


def test_changes_add_up() -> None:
    one = Changes(table="t", changed=1, columns={"a": 1})
    two = Changes(table="t", unchanged=2, columns={"a": 1, "b": 1})
    both = add(one, two)
    assert (both.changed, both.unchanged, dict(both.columns)) == (1, 2, {"a": 2, "b": 1})


def test_the_contract_of_readings_is_recalled_by_device() -> None:
    (table,) = [one for one in recalled_tables(SHIPPED) if one.contract.table == CONTRACT.table]
    assert table.about == ("device", "device_id")
