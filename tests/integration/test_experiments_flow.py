"""The flow of pulls, of robots: on a robot, Postgres and a Prefect server."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import get_client
from prefect.settings import temporary_settings

from flows.acts.asking import PullRequest
from flows.batch import pull as module
from flows.batch.pull import pull
from infra.graph import open_graph
from infra.http import HttpClient
from infra.local.addresses import Address
from infra.postgres import Connection, connect
from infra.simulators.robot import Robot, failing, serial_dilution, serve_robot
from lineage import graph as graphs
from lineage import naming, relay
from lineage.audit import ask, find
from lineage.errors import NotFoundError, RejectedError, UnavailableError, VerificationError
from tasks.batch import RawBatch
from tasks.extract import opentrons
from tasks.extract.opentrons import RobotSource
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.catalogs import pipeline as named
from tests.fixtures.commit import a_batch, a_way
from tests.fixtures.graph import endpoint_of
from tests.fixtures.prefect import at

# Prefect leaves the socket of its events to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Bench:
    """A robot and what the flow stores of it."""

    def __init__(self, robot: Robot, connection: Connection) -> None:
        self.robot, self.connection = robot, connection

    async def fetch(self, run_id: str | None = None) -> str:
        one = {"experiment_id": run_id} if run_id else {}
        return await pull(PullRequest.model_validate({"pipeline": "experiments", "robot": "ot2", **one}))

    async def value(self, query: str) -> object:
        return await self.connection.fetchval(query)

    def hold(self) -> None:
        """From here on the robot starts no command: its run still goes, however slow we are."""
        self.robot._go.clear()

    def go_on(self) -> None:
        self.robot._go.set()


@asynccontextmanager
async def a_bench(
    robot: Robot, dsn: str, prefect: Address, home: Path, patch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    async with serve_robot(robot) as url:
        patch.setenv("HEADWATER_POSTGRES_DSN", dsn)
        patch.setenv("HEADWATER_ROBOTS", f"ot2={url}")
        patch.setenv("HEADWATER_HOME", str(home))
        connection = await connect(dsn, application="test")
        with temporary_settings(at(prefect)):
            yield Bench(robot, connection)
        await connection.close()
    gc.collect()


@pytest.fixture
async def bench(
    postgres_dsn: str, prefect_server: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    robot = Robot(seconds=0.02)
    async with a_bench(robot, postgres_dsn, prefect_server, tmp_path, monkeypatch) as bench:
        await robot.up()
        yield bench


async def test_a_run_that_goes_is_stored_and_revised_and_its_history_stays(bench: Bench) -> None:
    run = bench.robot.create_run(bench.robot.add_protocol(serial_dilution(1)))
    bench.robot.act(run, "play")
    while len(run.commands) < 4:  # noqa: ASYNC110  (the robot is what is watched)
        await asyncio.sleep(0.01)
    bench.hold()
    assert "accepted" in await bench.fetch(run.id)
    assert await bench.value("SELECT status FROM experiments") == "running"
    bench.go_on()
    await bench.robot.ended(run)
    await bench.fetch(run.id)
    assert await bench.value("SELECT status FROM experiments") == "succeeded"
    assert await bench.value("SELECT status FROM store.experiments_history") == "running"
    assert await bench.value("SELECT count(*) FROM experiment_steps") == len(run.commands)
    assert await bench.value("SELECT count(*) FROM rejected") == 0
    assert await bench.fetch(run.id) == "Nothing new: batch 2 holds the same already."
    assert await bench.value("SELECT count(*) FROM ledger") == 2


async def test_a_look_at_a_robot_has_the_time_of_postgres_and_not_of_whoever_looks(
    ahead_dsn: str, prefect_server: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = Robot(seconds=0)
    async with a_bench(robot, ahead_dsn, prefect_server, tmp_path, monkeypatch) as bench:
        await robot.up()
        run = await robot.play(serial_dilution(1))
        await bench.fetch(run.id)
        ahead = "SELECT min({}) > pg_catalog.clock_timestamp() + interval '23 hours' FROM {}"
        assert await bench.value(ahead.format("observed_at", "experiments"))
        assert await bench.value(ahead.format("received_until", "ledger"))


async def test_steps_that_a_robot_forgot_in_a_restart_are_closed(bench: Bench) -> None:
    run = bench.robot.create_run(bench.robot.add_protocol(serial_dilution(1)))
    bench.robot.act(run, "play")
    while len(run.commands) < 4:  # noqa: ASYNC110  (the robot is what is watched)
        await asyncio.sleep(0.01)
    bench.hold()
    await bench.fetch(run.id)
    steps = await bench.value("SELECT count(*) FROM experiment_steps")
    going = await bench.value("SELECT count(*) FROM experiment_steps WHERE status IN ('queued', 'running')")
    assert going
    await bench.robot.restart()
    await bench.fetch(run.id)
    assert await bench.value("SELECT status FROM experiments") == "stopped"
    assert await bench.value("SELECT count(*) FROM experiment_steps WHERE status = 'lost'") == going
    assert await bench.value("SELECT count(*) FROM experiment_steps") == steps
    assert await bench.value("SELECT count(*) FROM store.experiment_steps_history") == going
    places = "SELECT array_agg(DISTINCT (raw_batch, batch, sequence)::text) FROM experiment_steps"
    assert await bench.value(f"{places} WHERE status = 'lost'") == ["(2,2,0)"]  # the run's own message
    await bench.fetch(run.id)
    assert await bench.value("SELECT count(*) FROM ledger") == 2


async def test_a_failed_protocol_and_a_run_that_is_gone_are_ordinary(bench: Bench) -> None:
    run = await bench.robot.play(failing(2))
    await bench.fetch(run.id)
    assert await bench.value("SELECT status || ' ' || (error_count > 0) FROM experiments") == "failed true"
    gone = uuid4()
    assert await bench.fetch(str(gone)) == f"Robot ot2 no longer knows run {gone}."
    assert await bench.value("SELECT count(*) FROM ledger") == 1


async def test_its_page_shows_counts_and_where_the_lineage_is(bench: Bench) -> None:
    run = await bench.robot.play(serial_dilution(1))
    await bench.fetch(run.id)
    async with get_client() as client:
        pages = [
            artifact
            for artifact in await client.read_artifacts()
            if artifact.key == "headwater-experiments-1"
        ]
    text = str(max(pages, key=lambda page: page.created).data)
    steps = await bench.value("SELECT count(*) FROM experiment_steps")
    assert f"| accepted into `experiment_steps` | {steps} |" in text
    assert "headwater audit upstream --param 'key=postgres:experiments#1'" in text


async def test_what_is_stored_otherwise_than_it_was_read_fails_the_run_and_is_named(bench: Bench) -> None:
    first = await bench.robot.play(serial_dilution(1))
    await bench.fetch(first.id)
    await bench.connection.execute(
        """
        CREATE FUNCTION store.spoil() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.robot := 'another'; RETURN NEW; END $$;
        CREATE TRIGGER spoil BEFORE INSERT ON store.experiments FOR EACH ROW EXECUTE FUNCTION store.spoil()
        """
    )
    run = await bench.robot.play(serial_dilution(2))
    with pytest.raises(VerificationError, match="experiments, batch 2: the values of its 1 row"):
        await bench.fetch(run.id)


async def test_a_robot_that_is_starting_is_waited_for(
    postgres_dsn: str, prefect_server: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = Robot(seconds=0.001, start_seconds=0.0)
    async with a_bench(robot, postgres_dsn, prefect_server, tmp_path, monkeypatch) as bench:
        await robot.up()
        run = await robot.play(serial_dilution(1))
        await robot.stop()
        fetching = asyncio.create_task(bench.fetch(run.id))
        await asyncio.sleep(1.0)
        assert not fetching.done()
        await robot.start()
        assert "accepted" in await fetching


async def test_a_robot_that_stays_away_fails_the_run_after_its_tries(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await bench.robot.play(serial_dilution(1))
    await bench.robot.stop()
    with pytest.raises(UnavailableError, match="robot ot2"):
        await bench.fetch(run.id)
    assert await bench.value("SELECT count(*) FROM ledger") == 0


async def test_a_robot_nobody_named_is_an_error_that_says_what_to_do(bench: Bench) -> None:
    with pytest.raises(NotFoundError, match="HEADWATER_ROBOTS"):
        await pull(PullRequest.model_validate({"pipeline": "experiments", "robot": "flex"}))


async def test_a_run_that_is_told_nothing_more_reads_all_that_the_robot_keeps_and_what_is_bad_alone_is_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await bench.fetch() == "Robot ot2 keeps no run."
    runs = [await bench.robot.play(serial_dilution(seed)) for seed in range(3)]
    told = await bench.fetch()
    assert told.startswith(f"Read {sum(len(run.commands) for run in runs) + 3} in 3 batches: ")
    assert await bench.fetch() == "Nothing new: batches 1, 2, 3 hold the same already."
    await bench.robot.play(serial_dilution(4))
    assert " in 2 batches: " in await bench.fetch()  # the third is no longer the current one
    fetch_run = opentrons.fetch_run

    async def refusing(client: HttpClient, robot: RobotSource, run_id: UUID, at: datetime) -> RawBatch | None:
        if str(run_id) == runs[0].id:
            raise RejectedError("too long")
        return await fetch_run(client, robot, run_id, at)

    monkeypatch.setattr(opentrons, "fetch_run", refusing)
    await bench.robot.play(serial_dilution(5))
    with pytest.raises(RejectedError, match="too long"):
        await bench.fetch()
    assert await bench.value("SELECT count(*) FROM experiments") == 5


async def test_the_request_of_an_older_version_is_understood(bench: Bench) -> None:
    run = await bench.robot.play(serial_dilution(1))
    request = PullRequest.model_validate({"robot": "ot2", "experiment_id": run.id})
    assert "accepted" in await pull(request)
    assert str(request) == f"experiments ot2 {run.id}"


async def test_at_its_limit_of_rejected_records_a_robot_is_not_read(
    bench: Bench, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_way(postgres_dsn) as way:
        way.plan = replace(way.plan, pipeline="experiments")
        await way.take(replace(a_batch(("/runs", b"{")), dataset=naming.opentrons("ot2")))
    full = named("experiments").model_copy(update={"rejected_limit": 1})
    known = replace(SHIPPED, pipelines={"experiments": full})
    monkeypatch.setattr(module.catalog, "read", lambda _settings: known)
    with pytest.raises(RejectedError, match="experiments is not read: 1 rejected records wait"):
        await bench.fetch(str(uuid4()))


WATER, DYE = {"id": "1", "displayName": "Water"}, {"id": "2", "displayName": "Dye"}


async def test_experiments_that_share_labware_or_reagents_are_found(
    bench: Bench, graph_address: Address
) -> None:
    first, second = [await bench.robot.play(serial_dilution(seed)) for seed in (1, 2)]
    first.liquids, second.liquids = [WATER, DYE], [WATER]
    for run in (first, second):
        await bench.fetch(run.id)
    assert await bench.value("SELECT count(*) FROM experiments") == 2
    async with open_graph(endpoint_of(graph_address)) as graph:
        await graphs.migrate(graph)
        await relay.catch_up(bench.connection, graph)
        shared = await ask(graph, find("shared"), {"experiment": first.id})
    labware = {each["definitionUri"] for each in first.labware}
    assert len(labware) >= 3
    expected = [("labware", uri, [second.id]) for uri in sorted(labware)] + [
        ("reagent", "Water", [second.id])
    ]
    assert list(shared.rows) == expected


MALFORMED = [
    {"definitionUri": "opentrons/no_list/1", "displayName": "no list"},
    [1, 2.5, None, "a name", ["nested"]],
    [{"id": "x"}, {"definitionUri": 7, "loadName": "", "displayName": None}],
    "neither",
    None,
]


@pytest.mark.parametrize("malformed", MALFORMED, ids=["object", "no objects", "no names", "text", "null"])
async def test_malformed_labware_and_reagents_store_the_experiment_and_make_no_edge(
    bench: Bench, malformed: Any
) -> None:
    run = await bench.robot.play(serial_dilution(1))
    run.labware = run.liquids = malformed
    assert "accepted" in await bench.fetch(run.id)
    assert await bench.value("SELECT count(*) FROM experiments") == 1
    assert await bench.value("SELECT count(*) FROM rejected") == 0
    assert await bench.value("SELECT count(*) FROM lineage_log WHERE relationship_type = 'USED'") == 0


async def test_of_a_list_with_malformed_things_the_named_ones_count(bench: Bench) -> None:
    run = await bench.robot.play(serial_dilution(1))
    run.labware, run.liquids = [], [7, WATER]  # type: ignore[list-item]
    await bench.fetch(run.id)
    used = "SELECT array_agg(target_key) FROM lineage_log WHERE relationship_type = 'USED'"
    assert await bench.value(used) == ["reagent:Water"]
