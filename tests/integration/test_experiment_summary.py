"""The summary of robot runs on a real Postgres, from runs the small robot played, fetched over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows import catalog
from infra.http import HttpClient
from infra.postgres import Pool, open_pool
from infra.simulators.robot import Robot, failing, serial_dilution, serve_robot
from infra.simulators.robot_runs import Run as RobotRun
from lineage import naming
from lineage.model import Run, bucket_node
from tasks.batch import Receipt, Reference
from tasks.extract.opentrons import RobotSource, fetch_run, robot_client
from tasks.load.aggregate import load_aggregates
from tasks.load.commit import load
from tasks.load.prepare import prepare
from tasks.load.refresh import Refreshed, refresh
from tasks.load.store import Store
from tasks.load.tables import prepare_table
from tasks.transform.experiments import refine
from tests.fixtures.aggregates import assert_proven

SUMMARY = load_aggregates()[1]
SOURCE = RobotSource(name="bench", dataset=naming.opentrons("bench"), page_length=50)
CONTRACTS = catalog.pipeline("experiments").contracts()


class Bench:
    """A robot, and the tables its runs go to."""

    def __init__(self, robot: Robot, client: HttpClient, store: Store, pool: Pool) -> None:
        self.robot, self.client, self.store, self.pool = robot, client, store, pool
        self.run = Run(id=uuid4(), kind="flow", name="test", started_at=datetime.now(UTC))

    async def take(self, run: RobotRun) -> Receipt:
        """Fetch a run as it is now, and commit it."""
        batch = await fetch_run(self.client, SOURCE, UUID(run.id))
        assert batch is not None
        refined = refine(batch, Reference(frames={}), CONTRACTS, "opentrons")
        plan = catalog.pipeline("experiments").load_plan(self.run)
        return await load(self.store, plan, prepare(batch, refined, plan))

    async def refresh(self) -> Refreshed:
        return await refresh(self.store, SUMMARY, self.run, datetime.now(UTC))

    async def summary(self, run: RobotRun) -> dict[str, Any]:
        row = await self.pool.fetchrow("SELECT * FROM experiment_summary WHERE experiment_id = $1", run.id)
        return dict(row)


@asynccontextmanager
async def a_bench(dsn: str, robot: Robot) -> AsyncIterator[Bench]:
    async with (
        open_pool(dsn, application="test") as pool,
        Store(dsn, pool, application="test") as store,
        serve_robot(robot) as url,
        robot_client(SOURCE, url) as client,
    ):
        await robot.up()
        async with pool.acquire() as connection:
            for contract in (*CONTRACTS.values(), SUMMARY.contract):
                await prepare_table(connection, contract)
        yield Bench(robot, client, store, pool)


def moved(run: RobotRun, kind: str) -> float:
    """µL moved by the run's commands of a kind that succeeded, as the robot has them."""
    return sum(
        command["params"]["volume"]
        for command in run.commands
        if command["commandType"] == kind and command["status"] == "succeeded"
    )


async def test_a_run_that_succeeded(postgres_dsn: str) -> None:
    async with a_bench(postgres_dsn, Robot(seconds=0)) as bench:
        run = await bench.robot.play(serial_dilution(4))
        receipt = await bench.take(run)
        done = await bench.refresh()
        assert (done.hours, done.rows) == (1, 1)
        row = await bench.summary(run)
        assert (row["status"], row["robot"], row["protocol_name"]) == (
            "succeeded",
            "bench",
            "Serial dilution",
        )
        assert row["steps"] == row["steps_succeeded"] == len(run.commands)
        assert row["steps_failed"] + row["steps_running"] + row["steps_queued"] + row["steps_other"] == 0
        assert row["aspirated_ul"] == pytest.approx(moved(run, "aspirate"))
        assert row["dispensed_ul"] == pytest.approx(moved(run, "dispense"))
        assert row["aspirated_ul"] > 0
        assert row["duration_s"] == (row["completed_at"] - row["started_at"]).total_seconds()
        assert [row[name] for name in row if name.startswith("first_error")] == [None] * 4
        assert row["batch"] == done.batches[0]
        await assert_proven(bench.pool, SUMMARY)
        await assert_fed_by(bench.pool, row["created_at"], [receipt.batch])


async def assert_fed_by(pool: Pool, created_at: datetime, batches: list[int]) -> None:
    """The log leads from the hour to the batches of both of its sources."""
    hour = created_at.replace(minute=0, second=0, microsecond=0)
    target = bucket_node(naming.postgres("experiment_summary"), hour)
    rows = await pool.fetch("SELECT source_key FROM lineage_log WHERE target_key = $1", target.key)
    tables = ("experiments", "experiment_steps")
    expected = [f"{naming.postgres(table)}#{batch}" for table in tables for batch in batches]
    assert sorted(row["source_key"] for row in rows) == sorted(expected)


@pytest.mark.parametrize(
    ("seed", "fails_in"),
    [
        (2, "command"),  # it aspirates
        (1, "command"),  # it dispenses
        (2, "python"),
    ],
)
async def test_a_run_that_failed_says_what_went_wrong_first(
    postgres_dsn: str, seed: int, fails_in: Any
) -> None:
    async with a_bench(postgres_dsn, Robot(seconds=0)) as bench:
        run = await bench.robot.play(failing(seed, fails_in))
        await bench.take(run)
        await bench.refresh()
        row = await bench.summary(run)
        failed = [index for index, command in enumerate(run.commands) if command["status"] == "failed"]
        assert bool(failed) is (fails_in == "command")
        assert (row["status"], row["steps_failed"]) == ("failed", len(failed))
        assert row["first_error_step"] == (failed[0] if failed else None)
        if failed:
            assert row["first_error_message"] == run.commands[failed[0]]["error"]["detail"]
        else:
            own = await bench.pool.fetchrow("SELECT error_type, error_message FROM experiments")
            assert (row["first_error_type"], row["first_error_message"]) == tuple(own)
        assert row["first_error_type"] is not None
        assert row["aspirated_ul"] == pytest.approx(moved(run, "aspirate"))
        assert row["dispensed_ul"] == pytest.approx(moved(run, "dispense"))


async def test_a_run_that_is_still_going_is_summed_up_again_when_it_is_revised(postgres_dsn: str) -> None:
    async with a_bench(postgres_dsn, Robot(seconds=0.005)) as bench:
        run = bench.robot.create_run(bench.robot.add_protocol(serial_dilution(1)))
        bench.robot.act(run, "play")
        async with asyncio.timeout(30):
            while len(run.commands) < 5:  # noqa: ASYNC110  (the robot is what is watched)
                await asyncio.sleep(0.005)
        bench.robot.act(run, "pause")
        early = await bench.take(run)
        await bench.refresh()
        row = await bench.summary(run)
        assert row["completed_at"] is None
        assert row["duration_s"] is None
        assert row["steps"] < len(serial_dilution(1).steps)
        bench.robot.act(run, "play")
        await bench.robot.ended(run)
        late = await bench.take(run)
        done = await bench.refresh()
        assert (done.hours, done.rows) == (1, 1)
        row = await bench.summary(run)
        assert (row["status"], row["steps_succeeded"]) == ("succeeded", len(serial_dilution(1).steps))
        assert row["duration_s"] > 0
        await assert_fed_by(bench.pool, row["created_at"], [early.batch, late.batch])
        await assert_proven(bench.pool, SUMMARY)
        assert (await bench.take(run)).way == "repeat"
        assert (await bench.refresh()).hours == 0


async def test_a_run_without_any_step_is_summed_up(postgres_dsn: str) -> None:
    async with a_bench(postgres_dsn, Robot()) as bench:
        run = bench.robot.create_run(None)
        await bench.take(run)
        await bench.refresh()
        row = await bench.summary(run)
        assert (row["status"], row["steps"], row["aspirated_ul"], row["step_duration_s"]) == ("idle", 0, 0, 0)
