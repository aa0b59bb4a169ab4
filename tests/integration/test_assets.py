"""Prefect's assets on a real server: a user's flow, unchanged, becomes lineage, each event once."""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from pydantic import SecretStr

from flows.process import lifecycle
from flows.worker.assets import capture_assets, our_names
from infra.local.addresses import Address
from infra.postgres import connect
from infra.settings import Settings
from lineage import assets, prefect_assets
from lineage.prefect_assets import capture
from tests.fixtures.ours import assert_ours_stands
from tests.fixtures.prefect import a_client, variables
from tests.fixtures.proof import House, a_house, furnish
from tests.fixtures.waiting import until, until_stored

# Prefect leaves the socket of its events to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FLOW = """
import sys

from prefect import flow
from prefect.assets import materialize
from tests.fixtures.prefect import a_client, variables

PREFIX, TIMES, TABLE = sys.argv[1], int(sys.argv[2]), sys.argv[3]


@materialize(f"{PREFIX}/orders.parquet", asset_deps=[TABLE], by="polars")
def orders(day):
    return [day]


@materialize(f"{PREFIX}/totals.parquet")
def totals(orders):
    return len(orders)


@materialize(f"{PREFIX}/broken.parquet")
def broken():
    raise ValueError("no")


@flow(name=f"nightly {PREFIX[5:]}")
def nightly():
    for day in range(TIMES):
        totals(orders(day))
    broken(return_state=True)
    return 0


nightly()
"""

OVERLAP = timedelta(minutes=1)
TAKEN = "SELECT count(*) FROM ledger WHERE dataset"


async def run_flow(server: Address, directory: Path, *arguments: str) -> None:
    """As its owner runs it: a script of their own, in a process of its own."""
    script = directory / "nightly.py"
    script.write_text(FLOW)
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        *arguments,
        cwd=directory,
        env={**os.environ, **variables(server)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await running.communicate()
    assert running.returncode == 0, output.decode()


async def taken(house: House, prefix: str) -> int:
    count: int = await house.way.value(f"{TAKEN} LIKE 'prefect:{prefix}/%'")
    return count


async def capture_until(house: House, client: PrefectClient, prefix: str, wanted: int, **how: Any) -> None:
    """The server stores events a moment after it received them."""
    deadline = asyncio.get_running_loop().time() + 60
    while await taken(house, prefix) < wanted:
        assert asyncio.get_running_loop().time() < deadline, await taken(house, prefix)
        await capture(house.connection, client, back=OVERLAP, **how)
        await asyncio.sleep(0.2)


async def test_an_unchanged_flow_with_materialize_is_in_the_graph(
    postgres_dsn: str, graph: Address, prefect_server: Address, tmp_path: Path
) -> None:
    prefix = f"s3://{uuid4().hex}"
    table = f"postgres://{postgres_dsn.rpartition('@')[2]}/public/runs"
    async with a_house(postgres_dsn, graph) as house, a_client(prefect_server) as client:
        names = await our_names(house.connection, postgres_dsn)
        await run_flow(prefect_server, tmp_path, prefix, "2", table)
        await capture_until(house, client, prefix, 4, names=names)
        proof = await house.prove()
        assert proof.ok, proof.differences
        rows = await house.graph.read(
            "MATCH (a:Dataset)-[:FEEDS]->(b:Dataset {key: $key}) RETURN a.key AS key",
            {"key": f"prefect:{prefix}/totals.parquet"},
        )
        assert [row["key"] for row in rows] == [f"prefect:{prefix}/orders.parquet"]
        rows = await house.graph.read(
            "MATCH (a:Dataset)-[f:FEEDS]->(b:Dataset {key: $key}) RETURN a.key AS key, f.via AS via",
            {"key": f"prefect:{prefix}/orders.parquet"},
        )
        assert [row["key"] for row in rows] == ["postgres:runs"]
        assert rows[0]["via"].startswith(f"prefect:nightly {prefix[5:]}@")
        rows = await house.graph.read(
            "MATCH (t:Transformation)<-[:RAN]-(r:Run)-[:WROTE]->(b:Batch)-[:PART_OF]->(d:Dataset) "
            "WHERE d.key STARTS WITH $prefix "
            "RETURN DISTINCT t.name AS name, r.kind AS kind, r.name AS run, count(DISTINCT b) AS batches",
            {"prefix": f"prefect:{prefix}"},
        )
        assert [(row["name"], row["kind"], row["batches"]) for row in rows] == [
            (f"prefect:nightly {prefix[5:]}", "flow", 4)
        ]
        assert rows[0]["run"]
        paths = await house.graph.read(
            "MATCH (o:Batch)-[:FEEDS]->(t:Batch) WHERE t.dataset = $key "
            "RETURN o.materialized_by AS by, t.key AS key",
            {"key": f"prefect:{prefix}/totals.parquet"},
        )
        assert len({row["key"] for row in paths}) == 2
        assert {row["by"] for row in paths} == {"polars"}


async def test_serve_takes_them_and_ends_when_it_is_told_to(
    postgres_dsn: str, graph_address: Address, prefect_server: Address, tmp_path: Path
) -> None:
    prefix = f"s3://{uuid4().hex}"
    state = lifecycle.State()
    async with a_house(postgres_dsn, graph_address) as house, a_client(prefect_server):
        settings = Settings(postgres_dsn=SecretStr(postgres_dsn))
        serving = asyncio.create_task(capture_assets(settings, state))
        await run_flow(prefect_server, tmp_path, prefix, "1", "s3://elsewhere/raw")
        await until_stored(house.connection, f"{TAKEN} LIKE 'prefect:{prefix}/%'", 2)
        await until(lambda: state.last_operation == "capture")  # it is told after the commit
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert (await house.prove()).ok


async def test_an_asset_that_is_our_table_has_our_name(postgres_dsn: str, graph_address: Address) -> None:
    place = postgres_dsn.rpartition("@")[2]
    async with a_house(postgres_dsn, graph_address) as house:
        name = await our_names(house.connection, postgres_dsn)
    for path in ("runs", "public/runs", "store/runs"):
        assert name(f"postgres://{place}/{path}") == "postgres:runs"
    other = place.replace("127.0.0.1", "elsewhere")
    for key in (f"{place}/walks", f"{other}/runs", f"{place}/x/runs", "runs"):
        assert name(f"postgres://{key}") is None
    for key in ("postgres:runs", "postgres://[runs", f"postgres://{place}x/runs", "s3://lake/runs"):
        assert name(key) is None


def forged(prefix: str, *related: str, asset: str = "postgres:sensor_readings", run: str) -> dict[str, Any]:
    """An event as anybody can send one: by a flow named like our code, in a run of ours."""
    roles = [(f"prefect.flow-run.{run}", "flow-run", "eve"), (f"prefect.flow.{uuid4()}", "flow", "sensors")]
    roles += [(key, "asset", key) for key in related]
    return {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": prefect_assets.EVENT,
        "resource": {"prefect.resource.id": asset, "prefect.resource.name": prefix},
        "related": [
            {"prefect.resource.id": key, "prefect.resource.role": role, "prefect.resource.name": name}
            for key, role, name in roles
        ],
    }


async def test_whoever_sends_an_event_can_only_add(
    postgres_dsn: str, graph: Address, prefect_server: Address
) -> None:
    """It names our code, our run and our tables; others of its kind can be no record at all."""
    prefix, left_out = uuid4().hex, {}
    async with a_house(postgres_dsn, graph) as house, a_client(prefect_server) as client:
        await furnish(house)
        run, tables = str(house.way.plan.run.id), ["postgres:rejected", "postgres:sensor_readings"]
        bad = [
            forged(prefix, run="none"),
            forged(prefix, run=run, asset="s3://" + "x" * 3_000),
            forged(prefix, "postgres://[none", run=run, asset=f"s3://{prefix}/good"),
        ]
        answer = await client._client.post("/events", json=[forged(prefix, *tables, run=run), *bad])
        assert answer.is_success, answer.text

        def tell(event: str, reason: str) -> None:
            left_out[event] = reason

        names = await our_names(house.connection, postgres_dsn)
        query = "SELECT count(*) FROM ledger WHERE dataset IN ('prefect:postgres:sensor_readings', "
        while await house.way.value(f"{query}'prefect:s3://{prefix}/good')") < 2:
            await capture(house.connection, client, back=OVERLAP, names=names, left_out=tell)
            await asyncio.sleep(0.2)
        assert left_out[bad[0]["id"]] == "'none' is no flow run."
        assert "nothing that a database stores as a key" in left_out[bad[1]["id"]]
        assert await house.way.value("SELECT count(*) FROM store.reigns WHERE name = 'sensors'") == 1
        await assert_ours_stands(house)


class Killed(BaseException):
    """The end of a process, as far as its code can tell."""


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
async def test_killed_in_the_middle_nothing_is_lost_or_twice(
    postgres_dsn: str,
    graph_address: Address,
    prefect_server: Address,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    prefix = f"s3://{uuid4().hex}"
    monkeypatch.setattr(prefect_assets, "PAGE", 3)
    async with a_house(postgres_dsn, graph_address) as house, a_client(prefect_server) as client:
        await run_flow(prefect_server, tmp_path, prefix, "4", "s3://elsewhere/raw")
        deadline = asyncio.get_running_loop().time() + 60
        while not await _die_at_the_third(postgres_dsn, client, when):
            assert asyncio.get_running_loop().time() < deadline
        before = await taken(house, prefix)
        await capture_until(house, client, prefix, 8)
        assert before < 8
        others = [await connect(postgres_dsn, application=f"assets {n}") for n in range(2)]
        again = await asyncio.gather(*(capture(each, client, back=timedelta(days=1)) for each in others))
        assert again == [0, 0]
        for each in others:
            await each.close()
        assert await taken(house, prefix) == 8
        events = await house.connection.fetch(
            "SELECT DISTINCT target_facts->>'event' AS event FROM lineage_log "
            "WHERE relationship_type = 'WROTE'"
        )
        assert len(events) == await house.way.value("SELECT count(*) FROM ledger WHERE way = 'asset'")
        proof = await house.prove()
        assert proof.ok, proof.differences
        assert await house.way.value("SELECT count(*) FROM store.lineage_writers") <= 3


async def _die_at_the_third(dsn: str, client: PrefectClient, when: str) -> bool:
    """A capture whose process dies with its third event; False if there were not as many yet."""
    connection, count = await connect(dsn, application="dying"), 0
    whole_take, whole_write = assets.take, assets.write

    async def write(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        span = await whole_write(*arguments)
        if count == 3 and when == "before the commit":
            raise Killed
        return span

    async def take(*arguments: Any) -> bool:
        new = await whole_take(*arguments)
        if count == 3:
            raise Killed
        return new

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assets, "write", write)
        patch.setattr(assets, "take", take)
        try:
            await capture(connection, client, back=OVERLAP)
        except Killed:
            return True
        finally:
            connection.terminate()
    return False
