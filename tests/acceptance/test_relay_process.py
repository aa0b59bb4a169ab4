"""`headwater relay` as a process: it anchors the record, and sees that its graph was replaced."""

import json
from pathlib import Path

from infra.graph import BoltGraph
from infra.local.addresses import Address
from infra.postgres import Connection
from lineage import graph as graphs
from lineage import relay, seal
from tests.fixtures.commit import a_batch, message
from tests.fixtures.graph import graph_settings
from tests.fixtures.headwater import Headwater, Process
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.proof import House, a_house
from tests.fixtures.waiting import until, until_stored

LAST = 3
# The last batch as if it had never been, and all seals made anew by whoever seals next.
CUT = """
DELETE FROM store.lineage_log WHERE batch = 3;
DELETE FROM store.ledger WHERE batch = 3;
DELETE FROM store.ledger_outputs WHERE batch = 3;
DELETE FROM store.raw_batches WHERE batch = 3;
DELETE FROM store.sensor_readings WHERE batch = 3;
DELETE FROM store.change_marks WHERE batch = 3;
TRUNCATE store.lineage_seals, store.lineage_spans, store.proofs;
"""


async def commits(house: House, count: int) -> None:
    for second in range(count):
        await house.way.take(a_batch(message("a", second), message("b", second)))


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def test_a_log_cut_after_an_anchor_of_the_relay_or_of_a_proof_is_found(
    headwater: Headwater, postgres_dsn: str, graph_address: Address, tmp_path: Path
) -> None:
    by_relay, by_proof, of_nobody = (
        tmp_path / name / "anchors.ndjson" for name in ("relay", "proof", "none")
    )

    def run(*arguments: str, anchors: Path) -> Process:
        where = {"HEADWATER_POSTGRES_DSN": postgres_dsn, "HEADWATER_ANCHOR_FILE": str(anchors)}
        return headwater(*arguments, **where, **graph_settings(graph_address))

    def prove(anchors: Path) -> tuple[int, str]:
        proving = run("prove", "--full", anchors=anchors)
        status = proving.process.wait(120)
        return status, proving.log.read_text()

    async with a_house(postgres_dsn, graph_address) as house:
        await commits(house, LAST)
        await relay.seal_all(house.connection)
        newest = await seal.newest(house.connection)
        assert newest is not None
        relaying = run("relay", anchors=by_relay)
        await until(lambda: bool(lines(by_relay)), patience=120)
        assert relaying.stop() == 0
        assert prove(by_proof)[0] == 0
        for file in (by_relay, by_proof):
            assert [(each["seal"], each["hash"]) for each in lines(file)] == [
                (newest.seal, newest.hash.hex())
            ]
        await house.connection.execute("SET session_replication_role = replica")
        await house.connection.execute(CUT)
        rebuilding = run("graph", "rebuild", anchors=of_nobody)
        assert rebuilding.process.wait(120) == 0
    status, said = prove(of_nobody)
    assert status == 0, said  # from inside nothing can be seen
    for file in (by_relay, by_proof):
        status, said = prove(file)
        assert status == 1
        assert "anchored" in said


async def test_a_graph_emptied_or_replaced_while_the_relay_was_away_is_carried_again(
    headwater: Headwater, postgres_dsn: str, graph_address: Address
) -> None:
    def start() -> Process:
        return headwater("relay", HEADWATER_POSTGRES_DSN=postgres_dsn, **graph_settings(graph_address))

    async with a_house(postgres_dsn, graph_address) as house:
        for away in ("at first", "emptied", "replaced by another"):
            await commits(house, 2)
            process = start()
            await all_carried(house.connection, house.graph)
            assert process.stop() == 0
            again = "carrying the whole record again" in process.log.read_text()
            assert again is (away != "at first")
            await graphs.clear(house.graph)
            if away == "emptied":  # what comes next is another one
                await house.in_graph("CREATE (:Dataset {key: 'postgres:of_somebody_else'})")


async def all_carried(connection: Connection, graph: BoltGraph) -> None:
    entries = await connection.fetchval("SELECT count(*) FROM lineage_log")
    sealed = (
        "SELECT max(total) FROM store.lineage_seals WHERE seal = (SELECT max(seal) FROM store.relay_cursors)"
    )
    await until_stored(connection, sealed, entries)
    expected, found = await of_log(connection), await in_graph(graph)
    assert expected.relationships.keys() <= found.relationships.keys()
    assert expected.nodes.keys() <= found.nodes.keys()
