"""Seals and anchors: what is cut off or written anew is found, and a proof goes on from the last one."""

from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from flows.acts import proof as proof_flow
from infra import anchors
from infra.local.addresses import Address
from infra.settings import Settings, load
from lineage import relay, seal
from lineage.errors import SettingsError
from lineage.proof import Proof, last_proved, prove, sealed_before
from tasks.look.verify import stored_shapes
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import a_batch, message
from tests.fixtures.graph import graph_settings
from tests.fixtures.proof import House, a_house


async def proof_of(house: House, **how: object) -> Proof:
    shapes = await stored_shapes(house.connection)
    return await prove(house.connection, house.graph, shapes, **how)  # type: ignore[arg-type]


async def proof_of_new(house: House) -> Proof:
    return await proof_of(house, after=await last_proved(house.connection))


async def commits(house: House, first: int, count: int) -> None:
    for second in range(first, first + count):
        await house.way.take(a_batch(message("a", second), message("b", second, pressure=1)))


CUT = """
DELETE FROM store.lineage_log WHERE batch = {last};
DELETE FROM store.ledger WHERE batch = {last};
DELETE FROM store.ledger_outputs WHERE batch = {last};
DELETE FROM store.raw_batches WHERE batch = {last};
DELETE FROM store.sensor_readings WHERE batch = {last};
DELETE FROM store.rejected WHERE batch = {last};
DELETE FROM store.change_marks WHERE batch = {last};
"""


async def unguarded(house: House, statements: str) -> None:
    """As a superuser who knows the schema would."""
    await house.connection.execute("SET session_replication_role = replica")
    await house.connection.execute(statements)
    await house.connection.execute("SET session_replication_role = origin")


async def test_the_end_of_a_chain_cut_off_with_its_batch_is_found(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await commits(house, 1, 3)
        assert (await proof_of(house)).ok
        await unguarded(house, CUT.format(last=3))
        proof = await proof_of(house)
        assert any("of writer 1 are gone" in each for each in proof.differences), proof.differences


async def test_seals_made_anew_are_found_by_an_anchor_alone(
    postgres_dsn: str, graph: Address, tmp_path: Path
) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await commits(house, 1, 3)
        assert (await proof_of(house)).ok
        store, newest = await seal.identity(house.connection), await seal.newest(house.connection)
        assert newest is not None
        anchors.append(tmp_path / "anchors", store, newest)
        await unguarded(house, CUT.format(last=3))
        await unguarded(house, "TRUNCATE store.lineage_seals, store.lineage_spans, store.proofs")
        await relay.rebuild(house.connection, house.graph)
        assert (await proof_of(house)).ok  # from inside nothing can be seen
        kept = anchors.read(tmp_path / "anchors", store)
        proof = await proof_of(house, anchors=kept)
        assert any("anchored" in each for each in proof.differences), proof.differences
        assert anchors.read(tmp_path / "anchors", "another store") == ()


def test_an_anchor_stands_in_its_file_once(tmp_path: Path) -> None:
    path = tmp_path / "anchors"
    first, second = (seal.Anchor(seal=number, hash=bytes([number]) * 32) for number in (1, 12))
    for anchor in (first, first, second, first, second):
        anchors.append(path, "a", anchor)
    anchors.append(path, "another", first)
    assert anchors.read(path, "a") == (first, second)
    assert anchors.read(path, "another") == (first,)
    rewritten = seal.Anchor(seal=12, hash=bytes(32))
    anchors.append(path, "a", rewritten)
    assert anchors.read(path, "a") == (first, second, rewritten)  # for a proof to find


async def test_an_anchor_file_that_was_tampered_with_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "anchors").write_text('{"store": "a", "seal": 1}\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="no anchor"):
        anchors.read(tmp_path / "anchors", "a")


async def test_a_proof_reads_what_is_new_since_the_last_clean_one(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await commits(house, 1, 3)
        first = await proof_of_new(house)
        assert (first.ok, first.after, first.batches, first.rows) == (True, 0, 3, 3)
        between = datetime.now(UTC)
        await commits(house, 4, 2)
        second = await proof_of_new(house)
        assert (second.ok, second.after, second.batches, second.rows) == (True, first.seal, 2, 2)
        assert second.seal > first.seal
        nothing = await proof_of_new(house)
        assert (nothing.ok, nothing.batches, nothing.edges) == (True, 0, 0)
        assert (await proof_of(house, after=await sealed_before(house.connection, between))).batches == 2
        assert (await proof_of(house)).batches == 5


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE store.sensor_readings SET temperature = 99 WHERE batch = 4", "sensor_readings, batch 4"),
        ("DELETE FROM store.lineage_log WHERE batch = 4 AND target_key LIKE '%sensor%'", "lineage_log"),
        ("UPDATE store.lineage_log SET source_key = 'x' WHERE batch = 4", "lineage_log: writer"),
        ("UPDATE store.lineage_seals SET sealed_at = sealed_at + interval '1 ms'", "seal 3: its hash"),
        ("UPDATE store.lineage_seals SET digest = '\\x0000000000000000'", "seal 3: its hash"),
        ("DELETE FROM store.lineage_spans WHERE seal = 3", "seal 3"),
    ],
)
async def test_a_proof_of_what_is_new_finds_what_was_done_to_it(
    postgres_dsn: str, graph_address: Address, statement: str, sentence: str
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        for second in (1, 2):
            await commits(house, second, 1)
            await relay.seal_all(house.connection)
        assert (await proof_of_new(house)).ok
        await commits(house, 3, 1)
        await relay.seal_all(house.connection)
        await commits(house, 4, 1)
        await relay.seal_all(house.connection)
        await unguarded(house, statement)
        proof = await proof_of_new(house)
        assert any(each.startswith(sentence) for each in proof.differences), proof.differences


async def test_a_proof_of_what_is_new_finds_what_the_graph_lacks(
    postgres_dsn: str, graph_address: Address
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await commits(house, 1, 1)
        assert (await proof_of_new(house)).ok
        await commits(house, 2, 1)
        await relay.catch_up(house.connection, house.graph)
        for cypher, sentence in (
            ("MATCH (b:Batch {key: 'postgres:sensor_readings#2'}) SET b.rows = 7", "rows is 7"),
            ("MATCH (:Batch)-[r:FEEDS]->(b:Batch {key: 'postgres:rejected#2'}) DELETE r", "FEEDS"),
        ):
            await house.in_graph(cypher)
            proof = await proof_of_new(house)
            assert any(sentence in each for each in proof.differences), proof.differences


@pytest.mark.parametrize("gone", ["= 2", ">= 2"])
async def test_a_seal_cut_off_since_it_was_proved_is_named_and_all_is_read(
    postgres_dsn: str, graph_address: Address, gone: str
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        for second in (1, 2):
            await commits(house, second, 1)
            await relay.seal_all(house.connection)
        assert (await proof_of_new(house)).seal == 2
        await commits(house, 3, 1)
        await relay.seal_all(house.connection)
        await unguarded(house, f"DELETE FROM store.lineage_seals WHERE seal {gone}")
        proof = await proof_of_new(house)
        assert "seals: number 2, proved before, is gone" in proof.differences
        assert (proof.after, proof.batches) == (0, 3)


@pytest.fixture
def settings(
    postgres_dsn: str, graph_address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    for name, value in graph_settings(graph_address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEADWATER_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setenv("HEADWATER_ANCHOR_FILE", str(tmp_path / "anchors"))
    return load()


async def test_a_forged_proof_hides_nothing(
    postgres_dsn: str, graph_address: Address, settings: Settings
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await commits(house, 1, 1)
        proved = await proof_flow.prove(settings, SHIPPED)
        assert proved.ok
        await commits(house, 2, 1)
        await relay.seal_all(house.connection)
        await unguarded(house, "DELETE FROM store.lineage_log WHERE batch = 2 AND number > 3")
        forged = "INSERT INTO store.proofs (after, seal, differences, digest) VALUES (0, $1, 0, '')"
        await house.connection.execute(forged, await seal.last_seal(house.connection))
        proof = await proof_flow.prove(settings, SHIPPED)
        assert (proof.ok, proof.after) == (False, proved.seal)
        settings.anchors.unlink()
        assert (
            await proof_flow.prove(settings, SHIPPED)
        ).after == 0  # nothing vouches for any seal: all is read


async def test_a_proof_goes_on_from_the_newest_proved_anchor_that_still_stands(
    postgres_dsn: str, graph_address: Address, settings: Settings
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await commits(house, 1, 1)
        first = await proof_flow.prove(settings, SHIPPED)
        between = datetime.now(UTC)
        await commits(house, 2, 1)
        part = await proof_flow.prove(settings, SHIPPED, since=between)
        assert (part.ok, part.after) == (True, first.seal)
        second = await proof_flow.prove(settings, SHIPPED)
        assert second.after == first.seal  # a proof of a part vouches for nothing before it
        await commits(house, 3, 1)
        third = await proof_flow.prove(settings, SHIPPED)
        assert third.after == second.seal
        await unguarded(house, f"DELETE FROM store.lineage_seals WHERE seal = {third.seal}")
        proof = await proof_flow.prove(settings, SHIPPED)
        assert proof.after == second.seal
        assert any("was anchored" in each for each in proof.differences), proof.differences


@pytest.mark.parametrize("table", ["proofs", "transformations", "reigns"])
async def test_what_is_decided_from_is_append_only(
    postgres_dsn: str, graph_address: Address, table: str
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await house.connection.execute(f"DELETE FROM store.{table}")


async def test_a_column_without_an_edge_is_a_difference(postgres_dsn: str, graph_address: Address) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await commits(house, 1, 1)
        await unguarded(
            house, "DELETE FROM store.lineage_log WHERE target_key = 'postgres:sensor_readings.humidity'"
        )
        proof = await proof_of(house)
        assert any("no edge says what humidity comes from" in each for each in proof.differences)
