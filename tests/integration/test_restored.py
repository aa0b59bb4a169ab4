"""A restored backup: noticed by the relay and by proofs, accepted by a person, and named for ever."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from structlog.testing import capture_logs

from console.asked.restored import restored
from flows import relay as relay_flow
from flows.acts import proof as proof_flow
from infra import anchors
from infra.graph import open_graph
from infra.local.addresses import Address
from infra.local.postgres import Postgres
from infra.migrate import migrate
from infra.postgres import connect
from infra.settings import Settings, load
from lineage import lost, relay, seal
from lineage.errors import RejectedError
from lineage.projection import digest
from lineage.proof import Proof
from lineage.restores import ACCEPT
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import a_batch, message
from tests.fixtures.graph import endpoint_of, graph_settings
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.proof import House, a_house
from tests.fixtures.waiting import until

SUBJECTS = "SELECT array_agg(id ORDER BY id) FROM store.subjects"
LOST = "SELECT array_agg(batch ORDER BY batch) FROM lost_batches"


class KilledError(BaseException):
    """The end of a process."""


class Backups(Protocol):
    """Makes a backup of a store, and puts it back in its place; either cuts every connection."""

    def dsn(self) -> str: ...
    def back_up(self) -> None: ...
    def restore(self) -> None: ...


@dataclass(frozen=True, slots=True)
class OfDatabase:
    """A copy of the database's files, made by Postgres."""

    server: PostgresServer
    name: str

    def dsn(self) -> str:
        return self.server.dsn(self.name)

    def back_up(self) -> None:
        self.server.sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'"
        )
        self.server.sql(f"CREATE DATABASE {self.name}_backup TEMPLATE {self.name}")

    def restore(self) -> None:
        self.server.sql(f"DROP DATABASE {self.name} WITH (FORCE)")
        self.server.sql(f"CREATE DATABASE {self.name} TEMPLATE {self.name}_backup")


@dataclass(frozen=True, slots=True)
class OfServer:
    """A copy of the data directory of a server of this test's own."""

    service: Postgres
    backup: Path

    def dsn(self) -> str:
        return self.service.start().url_with_password

    def back_up(self) -> None:
        self.service.stop()
        subprocess.run(["cp", "-a", self.service.data, self.backup], check=True)

    def restore(self) -> None:
        self.service.stop()
        shutil.rmtree(self.service.data)
        subprocess.run(["cp", "-a", self.backup, self.service.data], check=True)


@pytest.fixture
def database(postgres_server: PostgresServer, postgres_dsn: str) -> Iterator[Backups]:
    name = postgres_dsn.rsplit("/", 1)[1]
    yield OfDatabase(postgres_server, name)
    postgres_server.sql(f"DROP DATABASE {name}_backup WITH (FORCE)")


@pytest.fixture
def data_directory(tmp_path: Path) -> Iterator[Backups]:
    service = Postgres(tmp_path / "home")
    yield OfServer(service, tmp_path / "backup")
    service.stop()


def settings_of(
    backups: Backups, graph: Address, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    for name, value in graph_settings(graph).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEADWATER_POSTGRES_DSN", backups.dsn())
    monkeypatch.setenv("HEADWATER_ANCHOR_FILE", str(directory / "anchors"))
    return load()


@pytest.fixture
def settings(
    database: Backups, graph_address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    return settings_of(database, graph_address, tmp_path, monkeypatch)


@pytest.fixture
async def house(database: Backups, settings: Settings, graph_address: Address) -> AsyncIterator[House]:
    async with restored_house(database, settings, graph_address) as house:
        yield house


@asynccontextmanager
async def restored_house(backups: Backups, settings: Settings, graph: Address) -> AsyncIterator[House]:
    """Two batches that a backup has, and two that it lacks; all of them were in the graph, and anchored."""
    async with a_house(backups.dsn(), graph) as house:
        await house.way.take(a_batch(message("a", 1)))
        await house.way.take(a_batch(message("a", 2), message("a", 2, temperature=900)))
        assert (await proof_flow.prove(settings, SHIPPED)).ok
        backups.back_up()
        assert backups.dsn()
        house.way.store.discard()
        await house.way.take(a_batch(message("a", 3)))
        await house.way.take(a_batch(message("lost", 4)))
        assert (await proof_flow.prove(settings, SHIPPED)).ok
        backups.restore()
        async with a_house(backups.dsn(), graph) as again:
            # the listener lived on, with all that it remembers
            yield House(house.way, again.connection, again.graph)


def lines(settings: Settings) -> list[dict[str, object]]:
    return [json.loads(line) for line in settings.anchors.read_text(encoding="utf-8").splitlines()]


def refused(proof: Proof) -> bool:
    return not proof.ok and any(each.endswith(ACCEPT) for each in proof.differences)


async def test_a_relay_makes_the_graph_of_a_restored_record_again_and_says_what_was_lost(
    house: House,
) -> None:
    assert digest(await in_graph(house.graph)) != digest(await of_log(house.connection))
    assert await lost.found_at(house.connection, "postgres:sensor_readings") is None
    assert await relay.drop_what_was_lost(house.connection, house.graph)
    assert await lost.found_at(house.connection, "postgres:sensor_readings") is not None
    assert await lost.found_at(house.connection, "opentrons:bench/runs") is None
    await relay.catch_up(house.connection, house.graph)
    assert digest(await in_graph(house.graph)) == digest(await of_log(house.connection))
    told = await house.connection.fetchval(LOST)
    assert {"postgres:sensor_readings#3", "postgres:sensor_readings#4"} < set(told)
    assert not any(each.endswith(("#1", "#2")) for each in told)
    assert await relay.drop_what_was_lost(house.connection, house.graph) is None


@pytest.mark.parametrize("later", [(), (4, 5)])
async def test_what_a_backup_has_and_was_sealed_after_it_is_not_told_as_lost(
    later: tuple[int, ...], database: Backups, settings: Settings, graph_address: Address
) -> None:
    """Its number may be another commit's by the time the relay looks."""
    async with a_house(database.dsn(), graph_address) as house:
        await house.way.take(a_batch(message("a", 1)))
        assert (await proof_flow.prove(settings, SHIPPED)).ok
        await house.way.take(a_batch(message("a", 2), message("a", 2, temperature=900)))
        database.back_up()
        house.way.store.discard()
        for second in later:
            await house.way.take(a_batch(message("a", second)))
        assert (await proof_flow.prove(settings, SHIPPED)).ok
        database.restore()
        house.way.store.discard()
        await house.way.take(a_batch(message("a", 6)))
        async with a_house(database.dsn(), graph_address) as again:
            assert await relay.drop_what_was_lost(again.connection, again.graph) is not None
            told = await again.connection.fetchval(LOST) or []
            tables = [each for each in told if each.startswith("postgres:sensor_readings#")]
            assert tables == [f"postgres:sensor_readings#{number}" for number in (3, 4)[: len(later)]]
            await relay.catch_up(again.connection, again.graph)
            assert digest(await in_graph(again.graph)) == digest(await of_log(again.connection))


async def test_a_relay_that_is_killed_while_it_empties_the_graph_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def half(graph: object) -> None:
        await house.in_graph("MATCH (n:Batch) WITH n LIMIT 3 DETACH DELETE n")
        raise KilledError

    monkeypatch.setattr(relay.graphs, "clear", half)
    with pytest.raises(KilledError):
        await relay.drop_what_was_lost(house.connection, house.graph)
    monkeypatch.undo()
    await relay.drop_what_was_lost(house.connection, house.graph)
    await relay.catch_up(house.connection, house.graph)
    assert digest(await in_graph(house.graph)) == digest(await of_log(house.connection))


async def test_the_graph_of_another_store_is_not_emptied(house: House) -> None:
    await relay.drop_what_was_lost(house.connection, house.graph)
    await house.in_graph(
        "CREATE (:Batch {key: 'x#1'})-[:PART_OF {known_at: 9000000000000000}]->(:Dataset {key: 'x'})"
    )
    with pytest.raises(RejectedError, match="another store"):
        await relay.drop_what_was_lost(house.connection, house.graph)
    assert await house.graph.read("MATCH (d:Dataset {key: 'x'}) RETURN d.key AS key", {})


async def test_a_data_directory_put_back_is_noticed_accepted_and_gone_on_with(
    data_directory: Backups, graph_address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await connect(data_directory.dsn(), application="test")
    await migrate(connection)
    await connection.close()
    settings = settings_of(data_directory, graph_address, tmp_path, monkeypatch)
    async with restored_house(data_directory, settings, graph_address) as house:
        assert (await house.way.take(a_batch(message("lost", 4)))).accepted["sensor_readings"] == 1
        assert refused(await proof_flow.prove(settings, SHIPPED))
        await relay.drop_what_was_lost(house.connection, house.graph)
        await restored(settings, reason="the disk died", by_whom="ada")
        proof = await proof_flow.prove(settings, SHIPPED, full=True)
        assert (proof.differences, len(proof.restores)) == ((), 1)


async def test_listeners_go_on_and_tell_again_what_was_lost(house: House) -> None:
    assert await house.connection.fetchval(SUBJECTS) == ["a"]
    receipt = await house.way.take(a_batch(message("lost", 4)))
    assert receipt.accepted["sensor_readings"] == 1
    assert await house.connection.fetchval(SUBJECTS) == ["a", "lost"]


async def test_proofs_fail_until_the_restore_is_accepted_and_name_it_for_ever(
    house: House, settings: Settings
) -> None:
    before = lines(settings)
    await house.way.take(a_batch(message("b", 9)))
    assert refused(await proof_flow.prove(settings, SHIPPED))
    await relay.drop_what_was_lost(house.connection, house.graph)
    await relay_flow._anchor(house.connection, settings)  # of the new seals, beside those that are gone
    assert refused(await proof_flow.prove(settings, SHIPPED, full=True))
    told = await restored(settings, reason="", by_whom="ada")
    assert (told.act, told.gap.kept) == (None, before[0]["seal"])
    assert {each.dataset for each in told.known} >= {"postgres:sensor_readings"}
    assert refused(await proof_flow.prove(settings, SHIPPED))

    done = await restored(settings, reason="the disk died", by_whom="ada")
    for full in (False, True, False):
        proof = await proof_flow.prove(settings, SHIPPED, full=full)
        assert proof.differences == ()
        (sentence,) = proof.restores
        assert f"seals after {told.gap.kept} up to {told.gap.lost} are gone" in sentence
        assert "by ada: the disk died" in sentence
    assert lines(settings)[: len(before)] == before
    facts = await house.connection.fetchval(
        "SELECT target_facts FROM lineage_log WHERE batch = $1 AND relationship_type = 'FEEDS'", done.act
    )
    assert json.loads(facts)["reason"] == "the disk died"
    with pytest.raises(RejectedError, match="nothing to accept"):
        await restored(settings, reason="again", by_whom="ada")


async def test_a_restore_that_only_one_of_log_and_anchors_accepts_is_found(
    house: House, settings: Settings
) -> None:
    await relay.drop_what_was_lost(house.connection, house.graph)
    await restored(settings, reason="the disk died", by_whom="ada")
    kept = settings.anchors.read_text(encoding="utf-8")
    without = [line for line in kept.splitlines(keepends=True) if '"restored"' not in line]
    settings.anchors.write_text("".join(without), encoding="utf-8")
    proof = await proof_flow.prove(settings, SHIPPED)
    assert refused(proof)
    assert any(each.startswith("restores: batch") for each in proof.differences)
    settings.anchors.write_text(kept.replace('"ada"', '"eve"'), encoding="utf-8")
    assert any(
        each.startswith("restores: the anchors")
        for each in (await proof_flow.prove(settings, SHIPPED)).differences
    )


async def test_accepted_in_the_log_and_killed_before_the_anchors_it_is_completed(
    house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await relay.drop_what_was_lost(house.connection, house.graph)
    append = anchors.append_restore
    monkeypatch.setattr(anchors, "append_restore", _killed)
    with pytest.raises(KilledError):
        await restored(settings, reason="the disk died", by_whom="ada")
    monkeypatch.setattr(anchors, "append_restore", append)
    assert not (await proof_flow.prove(settings, SHIPPED)).ok
    await restored(settings, reason="another word", by_whom="bob")
    proof = await proof_flow.prove(settings, SHIPPED)
    assert proof.differences == ()
    assert "by ada: the disk died" in proof.restores[0]


async def test_who_accepts_while_the_relay_empties_the_graph_is_told_what_he_waits_for(
    house: House, settings: Settings
) -> None:
    with capture_logs() as logs:
        async with relay.relay_lock(house.connection):
            accepting = asyncio.create_task(restored(settings, reason="", by_whom="ada"))
            await until(lambda: any("waiting for the relay" in each["event"] for each in logs))
            assert not accepting.done()
        assert (await accepting).graph
        logs.clear()
        await restored(settings, reason="", by_whom="ada")
        assert logs == []


def _killed(*_of: object) -> None:
    raise KilledError


async def test_a_second_restore_to_before_the_first_is_accepted_too(
    database: Backups, house: House, settings: Settings, graph_address: Address
) -> None:
    await relay.drop_what_was_lost(house.connection, house.graph)
    await restored(settings, reason="the disk died", by_whom="ada")
    assert (await proof_flow.prove(settings, SHIPPED)).ok
    database.restore()
    assert refused(await proof_flow.prove(settings, SHIPPED))
    connection = await connect(database.dsn(), application="test")
    async with open_graph(endpoint_of(graph_address)) as graph:
        await relay.drop_what_was_lost(connection, graph)
    await restored(settings, reason="it died again", by_whom="bob")
    proof = await proof_flow.prove(settings, SHIPPED, full=True)
    assert proof.differences == ()
    assert [each.split(": ")[2] for each in proof.restores] == [
        f"{why} (batch {act})"
        for why, act in zip(("the disk died", "it died again"), _acts(settings), strict=True)
    ]
    assert await seal.last_seal(connection) > 0
    await connection.close()


def _acts(settings: Settings) -> list[object]:
    said = [line["restored"] for line in lines(settings) if "restored" in line]
    return [each["act"] for each in said if isinstance(each, dict)]
