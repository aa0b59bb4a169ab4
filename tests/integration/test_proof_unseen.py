"""What used to go unseen: rows moved to history, another identity, cursors, the schema; in both proofs."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra import anchors
from infra.local.addresses import Address
from lineage import relay, seal
from lineage.proof import Proof, prove
from tasks.again.recall import Selection
from tasks.look.verify import stored_shapes
from tests.fixtures import recall
from tests.fixtures.aggregates import at, prepared, reading
from tests.fixtures.commit import a_batch, message
from tests.fixtures.proof import House, a_house
from tests.fixtures.recall import TODAY


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address) as house:
        yield house


async def proofs(house: House, after: int, **how: object) -> list[Proof]:
    """Of everything, and of what is new."""
    shapes = await stored_shapes(house.connection)
    return [
        await prove(house.connection, house.graph, shapes, after=each, **how)  # type: ignore[arg-type]
        for each in (0, after)
    ]


async def assert_named(house: House, sentence: str, after: int = 0) -> None:
    """By a full proof, and by one of what is new since a seal, if there was one."""
    for proof in (await proofs(house, after))[: 2 if after else 1]:
        assert any(each.startswith(sentence) for each in proof.differences), (after, proof.differences)


async def unguarded(house: House, *statements: str) -> None:
    await house.connection.execute("SET session_replication_role = replica")
    for statement in statements:
        assert not (await house.connection.execute(statement)).endswith(" 0"), statement
    await house.connection.execute("SET session_replication_role = origin")


def moves(table: str, which: str, replaced_by: int) -> tuple[str, str]:
    """The statements that make a row vanish from the view, and nothing of its batch."""
    return (
        f"INSERT INTO store.{table}_history SELECT *, {replaced_by} FROM store.{table} WHERE {which}",
        f"DELETE FROM store.{table} WHERE {which}",
    )


async def test_a_row_moved_to_history_by_hand_is_found(house: House) -> None:
    await house.way.take(a_batch(message("a", 1), message("b", 1)))
    first = await house.prove()
    await house.way.take(a_batch(message("a", 2), message("b", 2)))
    await house.way.take(a_batch(message("a", 3)))
    assert (await house.prove()).differences == ()
    await unguarded(house, *moves("sensor_readings", "batch = 2 AND device_id = 'b'", 3))
    await assert_named(
        house, "sensor_readings_history: 1 row(s) of batch 2 are said to be replaced by batch 3", first.seal
    )


async def test_a_row_that_a_reprocess_left_alone_is_not_taken_for_one_it_replaced(house: House) -> None:
    """The act is real, of the very raw batch; which rows it moved is what its entry says."""
    await house.way.take(a_batch(message("c", 1)))
    first = await house.prove()
    acts = recall.House(house.way, house.connection)
    batch = await acts.take(reading("a", at(1)), reading("b", at(2)))

    async def only_a(raw, reference):  # type: ignore[no-untyped-def]
        refined = await TODAY.refine(raw, reference)
        rows = refined.accepted["sensor_readings"]
        same = (await recall.sensors(100.0).refine(raw, reference)).accepted["sensor_readings"]
        mixed = recall.pl.concat([rows.filter(device_id="a"), same.filter(device_id="b")])
        return replace(refined, accepted={"sensor_readings": mixed})

    done = await acts.reprocess(batch.batch, replace(TODAY, refine=only_a))
    assert done.receipt is not None
    assert done.changes["sensor_readings"].changed == 1
    assert (await house.prove()).differences == ()
    number = done.receipt.batch
    await unguarded(house, *moves("sensor_readings", "device_id = 'b'", number))
    await assert_named(
        house, f"sensor_readings_history, batch {number}: it replaced 1 row(s), and", first.seal
    )


async def test_an_observation_moved_to_history_by_hand_is_found(house: House) -> None:
    await house.look(0, "idle", "zero")
    first = await house.prove()
    await house.look(1, "idle", "one", "two")
    await house.look(2, "running", "one")
    assert (await house.prove()).differences == ()
    await unguarded(house, *moves("runs", "run_id = 'two'", 3))
    await assert_named(
        house, "runs_history: 1 row(s) of batch 2 are said to be replaced by batch 3", first.seal
    )


async def test_an_older_observation_put_back_is_found(house: House) -> None:
    await house.look(0, "idle", "zero")
    first = await house.prove()
    await house.look(1, "idle", "one")
    await house.look(2, "running", "one")
    names = (
        "run_id, created_at, status, steps, volume, ok, labware, processed_at, batch, raw_batch, sequence, "
    )
    names += "part, input_hash, observed_at"
    await unguarded(
        house,
        f"CREATE TABLE public.old AS SELECT {names} FROM store.runs_history WHERE run_id = 'one'",
        "DELETE FROM store.runs_history WHERE run_id = 'one'",
        *moves("runs", "run_id = 'one'", 2),
        f"INSERT INTO store.runs ({names}) SELECT {names} FROM public.old",
    )
    await assert_named(house, "runs: 1 row(s) of batch 2 stand, and a newer observation", first.seal)


async def test_another_identity_is_found_from_inside(house: House) -> None:
    await house.way.take(a_batch(message("a", 1)))
    first = await house.prove()
    await unguarded(house, "UPDATE store.identity SET id = gen_random_uuid()")
    await assert_named(house, "identity: 1 seal(s), 1 to 1, were made of another store", first.seal)


async def test_another_identity_is_found_by_the_anchors_of_before(house: House, tmp_path: Path) -> None:
    """Seals of before a store was named in them: nothing inside tells, and no anchor is of the new store."""
    path = tmp_path / "anchors"
    await house.way.take(a_batch(message("a", 1)))
    await house.prove()
    before = await seal.identity(house.connection)
    newest = await seal.newest(house.connection)
    assert newest is not None
    anchors.append(path, before, newest)
    await unguarded(house, "UPDATE store.identity SET id = gen_random_uuid()")
    now = await seal.identity(house.connection)
    anchors.append(path, now, newest)  # as the relay does within a minute
    (full, new) = await proofs(house, 1, strangers=anchors.strangers(path, now))
    sentence = f"identity: seal 1 was anchored as one of store {before}, and this is {now}"
    assert sentence in full.differences
    assert sentence in new.differences


async def test_a_store_put_in_the_place_of_an_anchored_one_is_found(house: House) -> None:
    """Another identity and all seals made anew: what is left of before is in the file alone."""
    await house.way.take(a_batch(message("a", 1)))
    await house.prove()
    now = await seal.identity(house.connection)
    other = f"{'0' * 36}/{seal.database_of(now)}"
    lost = seal.Anchor(seal=7, hash=bytes(32))
    later = datetime.now(UTC) + timedelta(minutes=1)
    for before, found in ((True, True), (False, False)):
        stranger = seal.Stranger(store=other, anchor=lost, at=later, before=before)
        for proof in await proofs(house, 1, strangers=[stranger]):
            told = any(each.startswith(f"identity: store {other} was anchored") for each in proof.differences)
            assert told == found
    elsewhere = seal.Stranger(store=f"{'0' * 36}/another", anchor=lost, at=later, before=True)
    assert (await proofs(house, 1, strangers=[elsewhere]))[0].differences == ()


async def test_what_says_how_far_is_looked_at_when_nothing_is_new(house: House) -> None:
    acts = recall.House(house.way, house.connection)
    await prepared(house.connection)
    for second in (1, 2, 3):
        await house.way.take(a_batch(message("a", second)))
        await relay.catch_up(house.connection, house.graph)
    await acts.act("quarantine", Selection(device="a"))
    proved = await house.prove()
    assert proved.differences == ()
    await unguarded(house, "DELETE FROM store.sensor_readings_quarantine")
    await assert_named(house, "sensor_readings_quarantine: ", proved.seal)
    await house.connection.execute("UPDATE store.relay_cursors SET seal = 1")
    shapes = await stored_shapes(house.connection)
    new = await prove(house.connection, house.graph, shapes, after=proved.seal)
    assert "relay_cursors: the graph is said to have seal 1, and it has seal 4" in new.differences
    await house.connection.execute("UPDATE store.relay_cursors SET seal = 99")
    await assert_named(house, "relay_cursors: the graph is said to have seal 99, and the last one is", 4)


async def test_a_writer_that_is_told_to_have_ended_hides_nothing(house: House) -> None:
    await house.way.take(a_batch(message("a", 1)))
    proved = await house.prove()
    await house.connection.execute("UPDATE store.lineage_writers SET ended_at = now()")
    for second in range(2, 5):
        await house.way.take(a_batch(message("a", second)))
    assert (await relay.lag(house.connection)).entries == 0  # as the relay sees it
    await assert_named(house, "lineage_writers: writer 1 is said to have ended, and ", proved.seal)
    await house.connection.execute("DELETE FROM store.lineage_writers")
    await assert_named(house, "lineage_writers: writer 1, which wrote, is not there", proved.seal)


SCHEMA = {
    "a view that leaves rows out": (
        "CREATE OR REPLACE VIEW public.sensor_readings AS "
        "SELECT {columns} FROM store.sensor_readings s WHERE device_id <> 'a'",
        "schema: the view sensor_readings does not show",
    ),
    "a view of the record": (
        "CREATE OR REPLACE VIEW public.ledger_outputs AS "
        "SELECT batch, table_name, bucket, rows + 1 AS rows, values_sum, digest, columns "
        "FROM store.ledger_outputs",
        "schema: the view ledger_outputs does not show",
    ),
    "a view that is gone": ("DROP VIEW public.drops", "schema: there is no view drops"),
    "a trigger switched off": (
        "ALTER TABLE store.ledger DISABLE TRIGGER append_only",
        "schema: ledger is append-only no more",
    ),
    "a trigger dropped": (
        "DROP TRIGGER append_only ON store.recalls",
        "schema: recalls is append-only no more",
    ),
    "a trigger of one's own": (
        "CREATE FUNCTION public.skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER skip BEFORE INSERT ON store.rejected FOR EACH ROW EXECUTE FUNCTION public.skip()",
        "schema: rejected has a trigger skip",
    ),
    "another function": (
        "CREATE OR REPLACE FUNCTION store.refuse_change() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NULL; END'",
        "schema: the function refuse_change is another one",
    ),
    "triggers off in every session": (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', "
        "current_database()); END $$",
        "schema: every session begins with its triggers off",
    ),
    "row security": (
        "ALTER TABLE store.sensor_readings ENABLE ROW LEVEL SECURITY",
        "schema: sensor_readings shows some of its rows only",
    ),
    "a rule": (
        "CREATE RULE none AS ON INSERT TO store.rejected DO INSTEAD NOTHING",
        "schema: rejected has rules",
    ),
    "a column too many": (
        "ALTER TABLE store.runs ADD COLUMN note text",
        "schema: runs has a column note, which nobody made",
    ),
    "a column that is gone": (
        "ALTER TABLE store.erasures DROP COLUMN reason CASCADE",
        "schema: erasures has no column reason",
    ),
    "a partition taken off": (
        "ALTER TABLE store.sensor_readings DETACH PARTITION store.sensor_readings_20261121",
        "schema: sensor_readings_20261121 stands in the store, and no migration",
    ),
    "a contract of other columns": (
        "UPDATE store.contracts SET contract = '{{\"table\": 7}}' WHERE table_name = 'sensor_readings'",
        "contracts: version 1 of sensor_readings is not the one",
    ),
}


@pytest.mark.parametrize("kind", SCHEMA)
async def test_another_schema_is_named(house: House, kind: str) -> None:
    await house.way.take(a_batch(message("a", 1), message("b", 1)))
    proved = await house.prove()
    assert proved.differences == ()
    shown = await house.way.value(
        "SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name = 'sensor_readings'"
    )
    statement, sentence = SCHEMA[kind]
    await house.connection.execute(
        statement.replace("{columns}", str(shown)).replace("{{", "{").replace("}}", "}")
    )
    await assert_named(house, sentence, proved.seal)
