"""What a robot's notices mean, and the keys made from what was seen."""

from dataclasses import replace
from uuid import UUID

import pytest

from infra.simulators.robot import Robot, serial_dilution
from lineage.errors import SettingsError, UnavailableError
from tasks.extract.opentrons import RobotSource, RunSeen, notice_key
from tasks.extract.robot_notices import runs_to_fetch

RUN = UUID("7c48b201-7750-4869-be04-621ac24b13c0")
REFETCH, UNSUBSCRIBE = b'{"refetch": true}', b'{"unsubscribe": true}'


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        ("robot-server/runs", REFETCH, "all"),
        ("robot-server/runs/commands_links", REFETCH, "all"),
        (f"robot-server/runs/{RUN}", REFETCH, RUN),
        (f"robot-server/runs/pre_serialized_commands/{RUN}", REFETCH, RUN),
        (f"robot-server/runs/{RUN}", UNSUBSCRIBE, None),
        ("robot-server/runs/commands_links", UNSUBSCRIBE, None),
        ("robot-server/runs/no-such-run", REFETCH, None),
        ("robot-server/maintenance_runs/current_run", REFETCH, None),
        ("sensors/a/readings", REFETCH, None),
        ("robot-server/runs", b'{"refetch": 1}', None),
        ("robot-server/runs", b'{"refetch": true, "more": 1}', None),
        ("robot-server/runs", b"[true]", None),
        ("robot-server/runs", b"", None),
        ("robot-server/runs", b"\xff", None),
        ("robot-server/runs", b"[" * 100_000, None),
    ],
)
def test_which_run_a_notice_speaks_of(topic: str, payload: bytes, expected: object) -> None:
    assert runs_to_fetch(topic, payload) == expected


def test_a_key_changes_with_each_thing_that_is_news() -> None:
    seen = RunSeen(robot="a", run_id=RUN, status="running", commands=5, actions=1, last_completed_at=None)
    later = [
        replace(seen, robot="b"),
        replace(seen, run_id=UUID(int=1)),
        replace(seen, status="paused"),
        replace(seen, commands=6),
        replace(seen, actions=2),
        replace(seen, last_completed_at="2026-03-01T08:00:00+00:00"),
    ]
    assert notice_key(seen) == notice_key(replace(seen))
    assert len({notice_key(one) for one in [seen, *later]}) == len(later) + 1


@pytest.mark.parametrize("version", ["1", "-3", "", "2.0", "latest"])
def test_a_version_the_robot_would_refuse_is_refused_at_once(version: str) -> None:
    with pytest.raises(SettingsError, match="Opentrons-Version"):
        RobotSource(name="a", dataset="opentrons://a/runs", version=version)


async def test_the_notices_of_a_run_in_their_order() -> None:
    said: list[tuple[str, bytes]] = []
    robot = Robot(publish=lambda topic, payload: said.append((topic, payload)), seconds=0)
    await robot.start()
    protocol = serial_dilution(1)
    run = await robot.play(protocol)
    await robot.notices.flushed()
    await robot.stop()
    pair = ["robot-server/runs", f"robot-server/runs/{run.id}"]
    assert [topic for topic, _ in said] == [
        *pair,
        "robot-server/maintenance_runs/current_run",
        *pair,
        *["robot-server/runs/commands_links"] * len(protocol.steps),
        *pair,
        *pair,
        f"robot-server/runs/pre_serialized_commands/{run.id}",
    ]
    assert {payload for _, payload in said} == {REFETCH}


async def test_a_lost_broker_gets_a_burst_and_one_away_at_the_start_gets_nothing() -> None:
    said: list[str] = []
    broken = iter([True])

    def publish(topic: str, _: bytes) -> None:
        if next(broken, False):
            raise UnavailableError("the broker", "it hung up")
        said.append(topic)

    robot = Robot(publish=publish, seconds=0)
    await robot.start()
    robot.notices.lose_broker()
    await robot.play(serial_dilution(1))
    assert said == []
    robot.notices.find_broker()
    await robot.notices.flushed()
    burst = len(said)
    assert burst > 60
    robot.notices.lose_broker(forever=True)
    robot.notices.find_broker()
    await robot.play(serial_dilution(1))
    await robot.notices.flushed()
    assert len(said) == burst
    await robot.stop()


async def test_deleting_what_is_not_there_sends_notices_all_the_same() -> None:
    said: list[tuple[str, bytes]] = []
    robot = Robot(publish=lambda topic, payload: said.append((topic, payload)))
    await robot.start()
    robot.delete_run("no-such-run")
    robot.create_run(None)
    await robot.notices.flushed()
    said.clear()
    assert not robot.delete_run("no-such-run")
    await robot.notices.flushed()
    await robot.stop()
    assert [payload for _, payload in said] == [REFETCH] * 2 + [UNSUBSCRIBE] * 3
