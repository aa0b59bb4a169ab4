"""The summary of robot runs on a real Postgres, from runs the small robot played, fetched over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from infra.http import HttpClient
from infra.postgres import Pool, open_pool
from infra.simulators.robot import Robot, failing, serial_dilution, serve_robot
from infra.simulators.robot_protocols import Protocol, Step
from infra.simulators.robot_runs import Run as RobotRun
from lineage import naming
from lineage.bucket import Bucket
from lineage.model import Run, bucket_node
from lineage.proof.batches import verify_batch
from tasks.again.reprocess import reprocess
from tasks.again.reread import CurrentPipeline
from tasks.batch import RawBatch, Receipt, Reference, Refined
from tasks.contract import Contract
from tasks.derived.mark_readers import register
from tasks.derived.refresh import Refreshed, refresh
from tasks.extract.opentrons import RobotSource, fetch_run, robot_client
from tasks.load.commit import load
from tasks.load.prepare import prepare
from tasks.load.store import Store
from tasks.look.verify import stored_shapes
from tasks.tables.tables import prepare_table
from tasks.transform.experiments import refine
from tests.fixtures.aggregates import assert_proven
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.catalogs import pipeline as named

SUMMARY = SHIPPED.derived["experiment_summary"]
SOURCE = RobotSource(name="bench", dataset=naming.opentrons("bench"), page_length=50)
CONTRACTS = named("experiments").contracts


class Bench:
    """A robot, and the tables its runs go to."""

    def __init__(self, robot: Robot, client: HttpClient, store: Store, pool: Pool) -> None:
        self.robot, self.client, self.store, self.pool = robot, client, store, pool
        self.run = Run(id=uuid4(), kind="flow", name="test", started_at=datetime.now(UTC))

    async def prepare(self, contracts: Sequence[Contract]) -> None:
        async with self.pool.acquire() as connection:
            for contract in contracts:
                await prepare_table(connection, contract)
            await register(connection, SUMMARY)

    def today(self) -> CurrentPipeline:
        """The pipeline, for what is read again."""

        async def refine_again(batch: RawBatch, reference: Reference) -> Refined:
            return refine(batch, reference, CONTRACTS, "opentrons")

        return CurrentPipeline(
            plan=named("experiments").load_plan(self.run),
            refine=refine_again,
            reference=Reference(frames={}),
            row_local=False,
        )

    async def take(self, run: RobotRun) -> Receipt:
        """Fetch a run as it is now, and commit it."""
        batch = await fetch_run(self.client, SOURCE, UUID(run.id), datetime.now(UTC))
        assert batch is not None
        refined = refine(batch, Reference(frames={}), CONTRACTS, "opentrons")
        plan = named("experiments").load_plan(self.run)
        return await load(self.store, plan, prepare(batch, refined, plan))

    async def refresh(self) -> Refreshed:
        return await refresh(self.store, SUMMARY, self.run)

    async def summary(self, run: RobotRun) -> dict[str, Any]:
        row = await self.pool.fetchrow("SELECT * FROM experiment_summary WHERE experiment_id = $1", run.id)
        return dict(row)


@asynccontextmanager
async def a_bench(
    dsn: str,
    robot: Robot,
    contracts: Sequence[Contract] = (*CONTRACTS.values(), SUMMARY.contract),
) -> AsyncIterator[Bench]:
    async with (
        open_pool(dsn, application="test") as pool,
        Store(dsn, pool, application="test") as store,
        serve_robot(robot) as url,
        robot_client(SOURCE, url) as client,
    ):
        await robot.up()
        bench = Bench(robot, client, store, pool)
        await bench.prepare(contracts)
        yield bench


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
        assert (done.buckets, done.rows) == (1, 1)
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
    target = bucket_node(naming.postgres("experiment_summary"), hour, Bucket.HOUR)
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
        assert (done.buckets, done.rows) == (1, 1)
        row = await bench.summary(run)
        assert (row["status"], row["steps_succeeded"]) == ("succeeded", len(serial_dilution(1).steps))
        assert row["duration_s"] > 0
        await assert_fed_by(bench.pool, row["created_at"], [early.batch, late.batch])
        await assert_proven(bench.pool, SUMMARY)
        assert (await bench.take(run)).way == "repeat"
        assert (await bench.refresh()).buckets == 0


async def test_a_run_without_any_step_is_summed_up(postgres_dsn: str) -> None:
    async with a_bench(postgres_dsn, Robot()) as bench:
        run = bench.robot.create_run(None)
        await bench.take(run)
        await bench.refresh()
        row = await bench.summary(run)
        assert (row["status"], row["steps"], row["aspirated_ul"], row["step_duration_s"]) == ("idle", 0, 0, 0)


def eight_channels() -> Protocol:
    """A dilution with eight channels, whose last two transfers use one of them."""
    whole = serial_dilution(4, "Eight channels", pipette="p20_multi_gen2")
    layout = {"configurationParams": {"style": "SINGLE", "primaryNozzle": "H1"}}
    steps = [*whole.steps]
    steps.insert(-8, Step(command_type="configureNozzleLayout", params=layout, pipette=True))
    return Protocol(name=whole.name, steps=tuple(steps))


def moved_in_all(run: RobotRun, kind: str) -> float:
    """The same as `moved`, by eight channels, and by one once the layout says so."""
    channels, total = 8, 0.0
    for command in run.commands:
        if command["commandType"] == "configureNozzleLayout":
            channels = 1
        elif command["commandType"] == kind:
            total += channels * command["params"]["volume"]
    return total


async def test_what_several_channels_move_is_summed_up_whole(postgres_dsn: str) -> None:
    async with a_bench(postgres_dsn, Robot(seconds=0)) as bench:
        run = await bench.robot.play(eight_channels())
        await bench.take(run)
        await bench.refresh()
        row = await bench.summary(run)
        assert row["aspirated_ul"] == pytest.approx(moved_in_all(run, "aspirate"))
        assert row["dispensed_ul"] == pytest.approx(moved_in_all(run, "dispense"))
        assert moved(run, "aspirate") < row["aspirated_ul"] < 8 * moved(run, "aspirate")
        await assert_proven(bench.pool, SUMMARY)


async def test_what_channels_nobody_knows_moved_is_not_summed_up(postgres_dsn: str) -> None:
    async with a_bench(postgres_dsn, Robot(seconds=0)) as bench:
        run = await bench.robot.play(serial_dilution(4, pipette="a pipette of tomorrow"))
        await bench.take(run)
        await bench.refresh()
        row = await bench.summary(run)
        assert (row["aspirated_ul"], row["dispensed_ul"]) == (None, None)


async def test_durations_over_a_clock_that_was_set_are_marked_and_not_summed_up(postgres_dsn: str) -> None:
    """The robot wakes up years ago, and learns the time in the middle of a run."""
    times = {"now": datetime(2019, 7, 1, tzinfo=UTC)}

    def clock() -> datetime:
        times["now"] += timedelta(milliseconds=250)
        going = len(run.commands) == 5 and run.commands[4]["status"] == "running"
        if going and times["now"].year == 2019:
            times["now"] = datetime.now(UTC)
        return times["now"]

    robot = Robot(seconds=0, clock=lambda: times["now"])
    async with a_bench(postgres_dsn, robot) as bench:
        protocol = robot.add_protocol(serial_dilution(4))
        run = robot.create_run(protocol)
        robot._clock = clock
        robot.act(run, "play")
        await robot.ended(run)
        await bench.take(run)
        await bench.refresh()
        row = await bench.summary(run)
        assert (row["duration_s"], row["duration_fault"]) == (None, "too_long")
        assert row["completed_at"] - row["started_at"] > timedelta(days=1_000)
        assert row["steps_duration_fault"] == 1
        assert row["step_duration_s"] == pytest.approx(0.25 * (len(run.commands) - 1))
        await assert_proven(bench.pool, SUMMARY)


async def test_a_run_of_before_is_made_again_with_its_channels(postgres_dsn: str) -> None:
    """Stored under the first contracts, which knew no channels; then the upgrade, then a reprocess."""
    new = ("duration_fault", "channels", "total_volume_ul")
    before = {table: _without(contract, new) for table, contract in CONTRACTS.items()}
    summary = replace(SUMMARY, contract=_without(SUMMARY.contract, (*new, "steps_duration_fault")))
    async with a_bench(postgres_dsn, Robot(seconds=0), (*before.values(), summary.contract)) as bench:
        run = await bench.robot.play(eight_channels())
        plan = replace(named("experiments").load_plan(bench.run), contracts=before)
        batch = await fetch_run(bench.client, SOURCE, UUID(run.id), datetime.now(UTC))
        assert batch is not None
        refined = refine(batch, Reference(frames={}), CONTRACTS, "opentrons")
        cut = {table: rows.drop(new, strict=False) for table, rows in refined.accepted.items()}
        plan = replace(plan, transformation=replace(plan.transformation, version="of before"))
        stored = await load(bench.store, plan, prepare(batch, replace(refined, accepted=cut), plan))
        await bench.prepare((*CONTRACTS.values(), SUMMARY.contract))
        await bench.refresh()
        assert (await bench.summary(run))["aspirated_ul"] is None  # not known, rather than a share of it

        done = await reprocess(bench.store, bench.today(), stored.batch)
        without_pipette = 4  # homing, and what loads labware
        assert done.changes["experiment_steps"].changed == len(run.commands) - without_pipette
        await bench.refresh()
        assert (await bench.summary(run))["aspirated_ul"] == pytest.approx(moved_in_all(run, "aspirate"))
        assert (await reprocess(bench.store, bench.today(), stored.batch)).receipt is None
        for number in [row["batch"] for row in await bench.pool.fetch("SELECT batch FROM ledger")]:
            async with bench.pool.acquire() as connection:
                await verify_batch(connection, number, await stored_shapes(connection))


def _without(contract: Contract, names: Sequence[str]) -> Contract:
    columns = tuple(column for column in contract.columns if column.name not in names)
    return contract.model_copy(update={"version": 1, "columns": columns})
