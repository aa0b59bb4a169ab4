"""The proof on real services: clean after real commits, and every kind of tampering is found and named."""

import asyncio
from collections.abc import AsyncIterator

import polars as pl
import pytest

from infra.local.addresses import Address
from infra.postgres import connect
from lineage import graph as graphs
from lineage import relay
from lineage.errors import VerificationError
from lineage.projection import digest
from tasks.contract import Contract
from tasks.load.raw import pack, unpack
from tasks.tables.tables import prepare_table
from tests.fixtures.commit import a_batch, message
from tests.fixtures.lineage import in_graph
from tests.fixtures.proof import RUNS, House, a_house, furnish
from tests.fixtures.waiting import until_stored


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address) as house:
        yield house


async def test_real_commits_are_proved_on_both_graphs(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        empty = await house.prove()
        assert (empty.ok, empty.batches, empty.edges) == (True, 0, 0)
        receipts = await furnish(house)
        for receipt in receipts:
            await house.verify(receipt.batch)
        proof = await house.prove()
        assert proof.differences == ()
        assert (proof.ok, proof.batches, proof.rows, proof.rejected) == (True, 9, 3 + 6, 3)
        assert proof.edges == proof.carried == await house.way.value("SELECT count(*) FROM lineage_log")
        assert proof.digest == f"{digest(await in_graph(house.graph)):016x}"
        assert (await house.prove()).carried == 0


async def test_a_json_column_hashes_the_same_when_read_back(house: House) -> None:
    receipt = await house.look(1, "running", "one")
    await house.verify(receipt.batch)
    await house.connection.execute("UPDATE store.runs SET labware = labware::jsonb::json")
    with pytest.raises(VerificationError, match="runs, batch 1: the values"):
        await house.verify(receipt.batch)


async def test_an_older_sight_of_a_run_goes_to_its_history(house: House) -> None:
    await furnish(house)
    rows = await house.connection.fetch(
        "SELECT status, batch, replaced_by FROM store.runs_history WHERE run_id = 'one' ORDER BY batch"
    )
    assert [tuple(row) for row in rows] == [("idle", 5, 6), ("running", 6, 7), ("late", 9, 7)]
    assert await house.way.value("SELECT status FROM runs WHERE run_id = 'one'") == "succeeded"


async def test_one_revision_of_a_table_at_a_time(house: House) -> None:
    await house.look(0, "idle", "one")
    async with house.connection.transaction():
        await house.connection.execute("SELECT pg_advisory_xact_lock(hashtext('revise runs'))")
        looking = asyncio.create_task(house.look(1, "running", "one"))
        waiting = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        await until_stored(house.connection, waiting, 1)
        assert not looking.done()
    assert (await looking).accepted["runs"] == 1


async def test_a_batch_written_under_an_older_contract_is_still_proved(house: House) -> None:
    await furnish(house)
    raw = RUNS.model_dump(mode="json")
    raw["columns"].append({"name": "note", "type": "text"})
    await prepare_table(house.connection, Contract.model_validate({**raw, "version": 2}))
    assert (await house.prove()).differences == ()
    await house.connection.execute("UPDATE store.runs SET note = 'x' WHERE run_id = 'one'")
    assert [d[:4] for d in (await house.prove()).differences] == ["runs"]


POSTGRES: dict[str, tuple[str, str, str]] = {
    "an edited value": (
        "sensor_readings",
        "UPDATE store.sensor_readings SET temperature = 20.6 WHERE batch = 2 AND device_id = 'a'",
        "sensor_readings, batch 2: the values of its 2 row(s) are not those recorded",
    ),
    "a value set to null": (
        "sensor_readings",
        "UPDATE store.sensor_readings SET humidity = NULL WHERE batch = 2 AND device_id = 'b'",
        "sensor_readings, batch 2: the values of its 2 row(s) are not those recorded",
    ),
    "a deleted row": (
        "sensor_readings",
        "DELETE FROM store.sensor_readings WHERE batch = 2 AND device_id = 'a'",
        "sensor_readings, batch 2: 2 row(s) recorded, 1 stored",
    ),
    "a row of another batch": (
        "sensor_readings",
        "UPDATE store.sensor_readings SET batch = 3 WHERE batch = 1",
        "sensor_readings, batch 3: 1 row(s) stored, none recorded",
    ),
    "a row of no batch": (
        "sensor_readings",
        "UPDATE store.sensor_readings SET batch = 999 WHERE batch = 1",
        "sensor_readings: 1 row(s) of batch 999, which is not in the ledger",
    ),
    "an edited older version": (
        "runs_history",
        "UPDATE store.runs_history SET status = 'failed' WHERE status = 'idle' AND run_id = 'one'",
        "runs, batch 5: the values of its 2 row(s) are not those recorded",
    ),
    "edited messages": (
        "raw_batches",
        "UPDATE store.raw_batches SET messages = (SELECT messages FROM store.raw_batches WHERE batch = 3) "
        "WHERE batch = 2",
        "raw_batches, batch 2: 2 message(s) do not match their digest: sequence 0, 1",
    ),
    "a row that leads to other bytes": (
        "sensor_readings",
        "UPDATE store.sensor_readings SET sequence = 1 WHERE batch = 2 AND device_id = 'a'",
        "sensor_readings, batch 2: the values",
    ),
    "a row that leads to another batch": (
        "sensor_readings",
        "UPDATE store.sensor_readings SET raw_batch = 1 WHERE batch = 2 AND device_id = 'a'",
        "sensor_readings, batch 2: the values",
    ),
    "another input hash": (
        "sensor_readings",
        "UPDATE store.sensor_readings SET input_hash = 7 WHERE batch = 2 AND device_id = 'a'",
        "sensor_readings, batch 2: the values",
    ),
    "another time of a row": (
        "sensor_readings",
        "UPDATE store.sensor_readings SET processed_at = processed_at + interval '1 s' WHERE batch = 2",
        "sensor_readings, batch 2: the values",
    ),
    "another time of an observation": (
        "runs",
        "UPDATE store.runs SET observed_at = observed_at + interval '1 s' WHERE batch = 7",
        "runs, batch 7: the values",
    ),
    "another reason of a rejected record": (
        "rejected",
        "UPDATE store.rejected SET rules = '{temperature.type}', message = 'x' WHERE batch = 4",
        "rejected, batch 4: what is said",
    ),
    "a rejected record that leads to other bytes": (
        "rejected",
        "UPDATE store.rejected SET sequence = 0 WHERE batch = 1 AND sequence = 2",
        "rejected, batch 1: what is said",
    ),
    "a record closed without a replay": (
        "rejected",
        "UPDATE store.rejected SET resolved_by = 2 WHERE batch = 4",
        "rejected, batch 4: 1 record(s) with other attempts",
    ),
    "another number of attempts": (
        "rejected",
        "UPDATE store.rejected SET attempts = 3 WHERE batch = 4",
        "rejected, batch 4: 1 record(s) with other attempts",
    ),
    "a record that is said to pass when it comes again": (
        "rejected",
        "UPDATE store.rejected SET may_pass = true WHERE batch = 1",
        "rejected, batch 1: 2 record(s) whose may_pass",
    ),
    "another dataset of messages": (
        "raw_batches",
        "UPDATE store.raw_batches SET dataset = 'x' WHERE batch = 2",
        "raw_batches, batch 2: its digests, locations",
    ),
    "another time of messages": (
        "raw_batches",
        "UPDATE store.raw_batches SET received_at = received_at - interval '1 s' WHERE batch = 2",
        "raw_batches, batch 2: its digests, locations",
    ),
    "another size of messages": (
        "raw_batches",
        "UPDATE store.raw_batches SET bytes = 1 WHERE batch = 2",
        "raw_batches, batch 2: its digests, locations",
    ),
    "another transformation": (
        "ledger",
        "UPDATE store.ledger SET transformation_id = 'x' WHERE batch = 2",
        "seal 1: the ledger of its batches 1 to 9",
    ),
    "another run": (
        "ledger",
        "UPDATE store.ledger SET run_id = gen_random_uuid() WHERE batch = 2",
        "seal 1: the ledger",
    ),
    "another time in the ledger": (
        "ledger",
        "UPDATE store.ledger SET received_until = received_until + interval '1 s' WHERE batch = 2",
        "seal 1: the ledger",
    ),
    "more read and more duplicates": (
        "ledger",
        "UPDATE store.ledger SET read = read + 1, duplicates = duplicates + 1 WHERE batch = 2",
        "seal 1: the ledger",
    ),
    "another position": (
        "ledger",
        "UPDATE store.ledger SET position_id = 'x' WHERE batch = 2",
        "seal 1: the ledger",
    ),
    "more digests than messages": (
        "raw_batches",
        "UPDATE store.raw_batches SET digests = digests || sha256('x') WHERE batch = 2",
        "raw_batches, batch 2: 2 message(s) counted, 3 digest(s) kept",
    ),
    "fewer digests than messages": (
        "raw_batches",
        "UPDATE store.raw_batches SET digests = substr(digests, 1, 32) WHERE batch = 2",
        "raw_batches, batch 2: 2 message(s) counted, 1 digest(s) kept",
    ),
    "broken messages": (
        "raw_batches",
        "UPDATE store.raw_batches SET messages = substr(messages, 1, length(messages) / 2) WHERE batch = 2",
        "raw_batches, batch 2: its stored messages cannot be read any more",
    ),
    "edited messages and digests": (
        "raw_batches",
        "UPDATE store.raw_batches SET (messages, digests) = "
        "(SELECT messages, digests FROM store.raw_batches WHERE batch = 3) WHERE batch = 2",
        "raw_batches, batch 2: its digests, locations, dataset, times or size are not those recorded",
    ),
    "deleted messages": (
        "raw_batches",
        "DELETE FROM store.raw_batches WHERE batch = 2",
        "raw_batches: the messages of batch 2 are not stored",
    ),
    "a deleted rejected record": (
        "rejected",
        "DELETE FROM store.rejected WHERE batch = 4",
        "rejected, batch 4: 1 recorded, 0 stored",
    ),
    "a deleted log entry": (
        "lineage_log",
        "DELETE FROM store.lineage_log WHERE batch = 2 AND target_key = 'postgres:sensor_readings#2'",
        "lineage_log, batch 2: no edge from mqtt:sensors/+/readings#2 to postgres:sensor_readings#2",
    ),
    "an edited log entry": (
        "lineage_log",
        'UPDATE store.lineage_log SET target_facts = \'{"dataset":"postgres:sensor_readings",'
        '"number":2,"rows":7}\' WHERE batch = 2 AND target_key = \'postgres:sensor_readings#2\'',
        "lineage_log, batch 2: the edge to postgres:sensor_readings#2 says 7 row(s), and 2 are recorded",
    ),
    "an entry of an unknown kind": (
        "lineage_log",
        "UPDATE store.lineage_log SET source_kind = 'Nothing' WHERE writer = 1 AND number = 1",
        "lineage_log: writer 1, number 1: the entry cannot be read any more",
    ),
    "an entry of a batch of no dataset": (
        "lineage_log",
        "UPDATE store.lineage_log SET target_facts = '{}' WHERE target_key = 'postgres:sensor_readings#2'",
        "lineage_log: writer 1, number ",
    ),
    "an entry whose facts are none": (
        "lineage_log",
        "UPDATE store.lineage_log SET facts = '[]' WHERE writer = 1 AND number = 1",
        "lineage_log: writer 1, number 1: the entry cannot be read any more",
    ),
    "an entry that holds since no time": (
        "lineage_log",
        'UPDATE store.lineage_log SET facts = \'{"valid_from": "x"}\' WHERE writer = 1 AND number = 1',
        "lineage_log: writer 1, number 1: the entry cannot be read any more",
    ),
    "an entry whose time was changed": (
        "lineage_log",
        "UPDATE store.lineage_log SET created_at = created_at + interval '1 microsecond' "
        "WHERE writer = 1 AND number = 2",
        "lineage_log: writer 1, number 2: its hash is not that of its content and the entry before it",
    ),
    "a deleted ledger row": (
        "ledger",
        "DELETE FROM store.ledger WHERE batch = 2",
        "sensor_readings: 2 row(s) of batch 2, which is not in the ledger",
    ),
    "an edited ledger": (
        "ledger",
        "UPDATE store.ledger SET accepted = 1, duplicates = 1 WHERE batch = 2",
        "batch 2: the ledger says 1 accepted, its outputs add up to 2",
    ),
    "another chain head": (
        "ledger",
        "UPDATE store.ledger SET chain_head = '\\x00' WHERE batch = 2",
        "lineage_log, batch 2: its last entry's hash is not the chain head in the ledger",
    ),
    "a deleted output": (
        "ledger_outputs",
        "DELETE FROM store.ledger_outputs WHERE batch = 2",
        "sensor_readings, batch 2: 2 row(s) stored, none recorded",
    ),
    "a seal said to add more entries than it does": (
        "lineage_seals",
        "UPDATE store.lineage_seals SET entries = entries + 1 WHERE seal = 1",
        "seal 1: the numbers of its entries",
    ),
    "a seal said to be the end of fewer entries than it is": (
        "lineage_seals",
        "UPDATE store.lineage_seals SET total = -1",
        "seal 1: the numbers of its entries",
    ),
}


@pytest.mark.parametrize("kind", POSTGRES)
async def test_tampering_with_postgres_is_found_and_named(house: House, kind: str) -> None:
    await furnish(house)
    assert (await house.prove()).differences == ()
    table, statement, sentence = POSTGRES[kind]
    await house.tamper(table, statement)
    proof = await house.prove()
    assert not proof.ok
    assert any(each.startswith(sentence) for each in proof.differences), proof.differences


async def test_a_seal_that_is_gone_before_it_was_carried_ends_the_proof_with_a_difference(
    house: House,
) -> None:
    await furnish(house)
    assert (await house.prove()).differences == ()
    for second in range(2):
        await house.way.take(a_batch(message("late", second)))
        await relay.seal_all(house.connection)
    await house.tamper("lineage_seals", "DELETE FROM store.lineage_seals WHERE seal = 2")
    async with asyncio.timeout(30):
        assert "seal 3: the seals 2 to 2 before it are gone" in (await house.prove()).differences


async def test_a_record_that_may_pass_and_is_said_not_to_is_found(house: House) -> None:
    early = message("a", 0, timestamp="2026-11-23T00:00:00Z")
    await house.way.take(a_batch(message("a", 1), early, message("a", 2, temperature=200)))
    assert (await house.prove()).differences == ()
    await house.tamper("rejected", "UPDATE store.rejected SET may_pass = false WHERE may_pass")
    (difference,) = (await house.prove()).differences
    assert difference.startswith("rejected, batch 1: 1 record(s) whose may_pass is not what")


async def messages_of(house: House, batch: int) -> pl.DataFrame:
    packed = await house.connection.fetchval("SELECT messages FROM store.raw_batches WHERE batch = $1", batch)
    return unpack(packed)


async def put(house: House, batch: int, messages: pl.DataFrame) -> None:
    statement = "UPDATE store.raw_batches SET messages = $1 WHERE batch = $2"
    await house.connection.execute(statement, pack(messages), batch)


async def test_a_message_from_another_topic_is_found(house: House) -> None:
    await furnish(house)
    await put(house, 2, (await messages_of(house, 2)).with_columns(location=pl.lit("sensors/z/readings")))
    (difference,) = (await house.prove()).differences
    assert difference.startswith("raw_batches, batch 2: its digests, locations")


async def test_an_erased_message_is_a_difference_unless_the_log_says_so(house: House) -> None:
    await furnish(house)
    messages = await messages_of(house, 2)
    await put(house, 2, messages.with_columns(payload=pl.lit(None, dtype=pl.Binary)))
    gone = "raw_batches, batch 2: 2 message(s) are gone and no erasure is recorded: sequence 0, 1"
    assert (await house.prove()).differences == (gone,)
    await house.connection.execute(
        "INSERT INTO store.erasures (act, batch, sequence, reason, by_whom) VALUES (3, 2, 0, 'hide', 'eve')"
    )
    forged = "erasures: 1 message(s) of act 3, of which the log does not say so"
    assert (await house.prove()).differences == (gone, forged)


GRAPH: dict[str, tuple[str, str]] = {
    "a deleted node": (
        "MATCH (n:Batch {key: 'postgres:sensor_readings#2'}) DETACH DELETE n",
        "graph: Batch postgres:sensor_readings#2 is missing",
    ),
    "a deleted relationship": (
        "MATCH (:Batch)-[r:FEEDS]->(:Batch {key: 'postgres:sensor_readings#2'}) DELETE r",
        "graph: Batch mqtt:sensors/+/readings#2 -FEEDS→ Batch postgres:sensor_readings#2 by sensors@0 "
        "is missing",
    ),
    "a changed property": (
        "MATCH (n:Batch {key: 'postgres:sensor_readings#2'}) SET n.rows = 3",
        "graph: Batch postgres:sensor_readings#2: rows is 3 instead of 2",
    ),
    "a changed property of a relationship": (
        "MATCH (:Batch)-[r:FEEDS]->(:Batch {key: 'postgres:sensor_readings#2'}) SET r.run_id = 'x'",
        "graph: Batch mqtt:sensors/+/readings#2 -FEEDS→ Batch postgres:sensor_readings#2 by sensors@0: "
        "run_id is 'x'",
    ),
    "a stray node": ("CREATE (:Batch {key: 'stray'})", "graph: Batch stray is not from the log"),
    "a stray node of another kind": (
        "CREATE (:Stray {colour: 'red'})",
        "graph: Stray None is not from the log",
    ),
    "a stray relationship": (
        "MATCH (a:Dataset {key: 'postgres:runs'}), (b:Dataset {key: 'postgres:sensor_readings'}) "
        "CREATE (a)-[:FEEDS]->(b)",
        "graph: Dataset postgres:runs -FEEDS→ Dataset postgres:sensor_readings is not from the log",
    ),
    "a relationship twice": (
        "MATCH (a)-[r:FEEDS]->(b:Batch {key: 'postgres:sensor_readings#2'}) "
        "CREATE (a)-[c:FEEDS]->(b) SET c = properties(r)",
        "graph: Batch mqtt:sensors/+/readings#2 -FEEDS→ Batch postgres:sensor_readings#2 by sensors@0 stands",
    ),
}


async def test_tampering_with_the_graph_is_found_and_named(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        clean = await house.prove()
        for kind, (statement, sentence) in GRAPH.items():
            await house.in_graph(statement)
            proof = await house.prove()
            assert any(each.startswith(sentence) for each in proof.differences), (kind, proof.differences)
            assert proof.digest == clean.digest
            await relay.rebuild(house.connection, house.graph)
            assert (await house.prove()).differences == (), kind


async def test_an_empty_graph_is_told_in_few_sentences_with_the_true_total(house: House) -> None:
    for second in range(30):
        await house.way.take(a_batch(message("a", second)))
    await house.prove()
    await graphs.clear(house.graph)
    proof = await house.prove()
    elements = await in_graph(house.graph)
    assert not elements.nodes
    await relay.rebuild(house.connection, house.graph)
    elements = await in_graph(house.graph)
    assert proof.total == len(elements.nodes) + len(elements.relationships)
    assert len(proof.differences) < 60
    assert proof.differences[-1].endswith(f"{proof.total} in all")


async def test_commits_made_meanwhile_are_no_differences(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        other = await connect(postgres_dsn, application="other relay")
        proofs, stop = [], asyncio.Event()

        async def commit() -> None:
            second = 0
            while not stop.is_set():
                second += 1
                await house.way.take(a_batch(message(f"c{second}", 5), message("x", 6, humidity=-second)))
                await house.look(second + 10, f"at {second}", "one", "two")

        async def carry() -> None:
            while not stop.is_set():
                await relay.carry(other, house.graph)

        work = [asyncio.create_task(commit()), asyncio.create_task(carry())]
        for _ in range(4):
            proofs.append(await house.prove())
        stop.set()
        await asyncio.gather(*work)
        await other.close()
        assert [proof.differences for proof in proofs] == [()] * 4
        assert proofs[0].batches < proofs[-1].batches


async def test_a_batch_that_is_not_there_is_told(house: House) -> None:
    with pytest.raises(VerificationError, match="batch 7 is not in the ledger"):
        await house.verify(7)


@pytest.mark.parametrize(
    "kind",
    ["an edited value", "a deleted row", "edited messages", "a deleted log entry", "another chain head"],
)
async def test_verification_of_a_batch_names_what_differs(house: House, kind: str) -> None:
    await furnish(house)
    table, statement, sentence = POSTGRES[kind]
    await house.verify(2)
    await house.tamper(table, statement)
    with pytest.raises(VerificationError) as raised:
        await house.verify(2)
    assert any(each.startswith(sentence) for each in raised.value.differences)
    await house.verify(1)


HOURLY = Contract.model_validate(
    {
        "table": "hourly",
        "on_return": "recompute",
        "key": ["device_id", "hour"],
        "time": "hour",
        "columns": [
            {"name": "device_id", "type": "text"},
            {"name": "hour", "type": "timestamp"},
            {"name": "mean", "type": "float"},
        ],
    }
)
