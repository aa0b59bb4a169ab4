"""What a robot's notices start, against the small robot over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from flows.worker import robot_watch
from flows.worker.robot_watch import LostAt, RobotWatch
from infra.http import HttpClient
from infra.simulators.robot import Robot, serial_dilution, serve_robot
from lineage.errors import HeadwaterError, RejectedError, UnavailableError
from tasks.extract.opentrons import RobotOptions, RobotSource, RunSeen, robot_client
from tests.fixtures.waiting import until

SOURCE = RobotSource(name="bench", dataset="opentrons:bench/runs")


class Started:
    """Remembers what was started; fails as often as told."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.seen: list[RunSeen] = []
        self.failures: list[Exception] = []
        self.completes = True

    async def __call__(self, key: str, seen: RunSeen) -> bool:
        if self.failures:
            raise self.failures.pop()
        self.keys.append(key)
        self.seen.append(seen)
        return self.completes

    def statuses(self, run_id: str) -> list[str]:
        return [seen.status for seen in self.seen if seen.run_id == UUID(run_id)]


async def never() -> datetime | None:
    return None


@asynccontextmanager
async def watching(
    robot: Robot,
    started: Started,
    revise_every: timedelta = timedelta(0),
    poll_every: float = 60.0,
    lost_at: LostAt = never,
) -> AsyncIterator[RobotWatch]:
    options = RobotOptions(revise_every=revise_every, poll_every=timedelta(seconds=poll_every))
    async with serve_robot(robot) as url, robot_client(SOURCE, url) as client:
        await robot.up()
        watch = RobotWatch(SOURCE, client, options, started, lost_at=lost_at)
        try:
            yield watch
        finally:
            await watch.close()


async def test_the_same_news_starts_one_flow_run() -> None:
    robot, started = Robot(), Started()
    async with watching(robot, started) as watch:
        run = await robot.play(serial_dilution(1))
        for _ in range(5):
            watch.notice(UUID(run.id))
            watch.notice("all")
        await until(lambda: bool(started.keys))
        watch.notice("all")
        await asyncio.sleep(0.2)
    assert started.statuses(run.id) == ["succeeded"]


async def test_what_a_restored_backup_lost_is_asked_for_again_by_another_key() -> None:
    robot, started, found = Robot(), Started(), list[datetime | HeadwaterError]()

    async def lost_at() -> datetime | None:
        if found and isinstance(found[-1], HeadwaterError):
            raise found[-1]
        return found[-1] if found else None

    async with watching(robot, started, lost_at=lost_at) as watch:
        run = await robot.play(serial_dilution(1))
        for moment in (None, datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)):
            found += [moment] if moment else []
            before = len(started.keys)
            watch.notice("all")
            await until(lambda: len(started.keys) > before)  # noqa: B023
        found.append(UnavailableError("Postgres", "it is away"))
        watch.notice("all")
        await asyncio.sleep(0.2)
    assert started.statuses(run.id) == ["succeeded"] * 3
    assert len({*started.keys}) == 3


async def test_a_run_that_goes_is_stored_again_and_its_end_always() -> None:
    robot, started = Robot(seconds=0.05), Started()
    async with watching(robot, started, timedelta(milliseconds=300)) as watch:
        run = robot.create_run(robot.add_protocol(serial_dilution(1)))
        robot.act(run, "play")
        while not run.ended:
            watch.notice(UUID(run.id))
            await asyncio.sleep(0.01)
        watch.notice(UUID(run.id))
        await until(lambda: "succeeded" in started.statuses(run.id))
    statuses = started.statuses(run.id)
    assert statuses[-1] == "succeeded"
    assert 2 <= statuses.count("running") < len(run.commands)


async def test_the_end_of_a_run_is_not_kept_waiting_for_what_is_due_later() -> None:
    robot, started = Robot(seconds=0.05), Started()
    async with watching(robot, started, timedelta(seconds=60)) as watch:
        run = robot.create_run(robot.add_protocol(serial_dilution(1)))
        robot.act(run, "play")
        watch.notice(UUID(run.id))
        await until(lambda: started.statuses(run.id) == ["running"])
        commands = len(run.commands)
        await until(lambda: len(run.commands) > commands + 1)
        watch.notice(UUID(run.id))  # it has changed, and is due in a minute
        await until(lambda: run.ended)
        watch.notice(UUID(run.id))
        await until(lambda: started.statuses(run.id) == ["running", "succeeded"], 10.0)


@pytest.mark.parametrize("error", [UnavailableError("robot", "it answered 500"), RejectedError("403")])
async def test_what_one_run_answers_is_nothing_to_the_others(
    error: HeadwaterError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robot_watch, "AGAIN_AFTER", timedelta(milliseconds=50))
    robot, started, look = Robot(), Started(), robot_watch.look
    errors: list[HeadwaterError] = [error]

    async def look_once(client: HttpClient, source: RobotSource, run_id: UUID) -> RunSeen | None:
        if run_id == UUID(runs[1].id) and errors:
            raise errors.pop()
        return await look(client, source, run_id)

    monkeypatch.setattr(robot_watch, "look", look_once)
    async with watching(robot, started, poll_every=0.05) as watch:
        runs = [await robot.play(serial_dilution(seed)) for seed in (1, 2, 3)]
        polling = asyncio.create_task(watch.poll())
        await until(lambda: len(started.keys) == 3)
        polling.cancel()
    assert {seen.run_id for seen in started.seen} == {UUID(run.id) for run in runs}


async def test_closed_it_has_nothing_under_way() -> None:
    async def never(_key: str, _seen: RunSeen) -> bool:
        began.set()
        await asyncio.sleep(60)
        return True

    robot, began, before = Robot(), asyncio.Event(), asyncio.all_tasks()
    async with serve_robot(robot) as url, robot_client(SOURCE, url) as client:
        await robot.up()
        watch = RobotWatch(SOURCE, client, RobotOptions(), never)
        run = await robot.play(serial_dilution(1))
        watch.notice(UUID(run.id))
        await began.wait()
        watch.notice(uuid4(), timedelta(seconds=60))
        await watch.close()
        ours = [task for task in asyncio.all_tasks() - before if "RobotWatch" in repr(task.get_coro())]
    assert ours == []


async def test_a_run_that_is_gone_and_a_spurious_notice_are_ordinary() -> None:
    robot, started = Robot(), Started()
    async with watching(robot, started) as watch:
        watch.notice(uuid4())
        watch.notice("all")
        await asyncio.sleep(0.2)
        run = await robot.play(serial_dilution(1))
        watch.notice("all")
        await until(lambda: bool(started.keys))
    assert started.statuses(run.id) == ["succeeded"]


async def test_an_ended_run_is_looked_at_once_more_without_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robot_watch, "SETTLED_AFTER", timedelta(milliseconds=50))
    robot, started = Robot(), Started()
    async with watching(robot, started) as watch:
        run = await robot.play(serial_dilution(1))
        last = run.commands.pop()  # it comes after the run's end, and nothing tells it
        watch.notice(UUID(run.id))
        await until(lambda: len(started.keys) == 1)
        run.commands.append(last)
        await until(lambda: len(started.keys) == 2)
    assert started.statuses(run.id) == ["succeeded", "succeeded"]
    assert started.seen[1].commands == started.seen[0].commands + 1


async def test_a_run_is_stored_once_more_when_another_is_the_current_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(robot_watch, "SETTLED_AFTER", timedelta(milliseconds=50))
    robot, started = Robot(), Started()
    async with watching(robot, started, poll_every=0.1) as watch:
        first = await robot.play(serial_dilution(1))
        polling = asyncio.create_task(watch.poll())
        await until(lambda: len(started.keys) == 1)
        await asyncio.sleep(0.5)  # settled: no poll looks at it any more
        robot.create_run(robot.add_protocol(serial_dilution(2)))  # no notice comes of it
        await until(lambda: started.statuses(first.id) == ["succeeded"] * 2)
        await asyncio.sleep(0.5)
        polling.cancel()
    assert [seen.current for seen in started.seen if seen.run_id == UUID(first.id)] == [True, False]


async def test_without_any_notice_polling_finds_the_run() -> None:
    robot, started = Robot(), Started()
    async with watching(robot, started) as watch:
        run = await robot.play(serial_dilution(1))
        polling = asyncio.create_task(watch.poll())
        await until(lambda: bool(started.keys))
        polling.cancel()
    assert started.statuses(run.id) == ["succeeded"]


async def test_what_could_not_be_started_is_started_later() -> None:
    robot, started = Robot(), Started()
    started.failures = [UnavailableError("Prefect", "away")]
    async with watching(robot, started) as watch:
        run = await robot.play(serial_dilution(1))
        watch.notice(UUID(run.id))
        await until(lambda: not started.failures)
        watch.notice(UUID(run.id))
        await until(lambda: bool(started.keys))
    assert started.statuses(run.id) == ["succeeded"]


async def test_an_unforeseen_error_is_told_whole_and_the_run_is_started_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(robot_watch, "AGAIN_AFTER", timedelta(milliseconds=50))
    robot, started = Robot(), Started()
    started.failures = [ZeroDivisionError("nobody expected this")]
    with capture_logs() as logs:
        async with watching(robot, started) as watch:
            run = await robot.play(serial_dilution(1))
            watch.notice(UUID(run.id))
            await until(lambda: bool(started.keys))
    assert started.statuses(run.id) == ["succeeded"]
    (told,) = (entry for entry in logs if entry["log_level"] == "error")
    assert isinstance(told["exc_info"], ZeroDivisionError)


async def test_what_did_not_complete_is_asked_for_again() -> None:
    robot, started = Robot(), Started()
    started.completes = False
    async with watching(robot, started) as watch:
        run = await robot.play(serial_dilution(1))
        watch.notice("all")
        await until(lambda: len(started.keys) == 1)
        started.completes = True
        watch.notice("all")
        await until(lambda: len(started.keys) == 2)
    assert started.keys[0] == started.keys[1]
    assert started.statuses(run.id) == ["succeeded", "succeeded"]


async def test_a_robot_that_restarts_in_mid_run_is_ordinary() -> None:
    robot, started = Robot(seconds=0.05), Started()
    async with watching(robot, started) as watch:
        run = robot.create_run(robot.add_protocol(serial_dilution(1)))
        robot.act(run, "play")
        await until(lambda: len(run.commands) > 2)
        watch.notice(UUID(run.id))
        await until(lambda: bool(started.keys))
        await robot.restart()
        watch.notice("all")
        await until(lambda: "stopped" in started.statuses(run.id))
