"""What the relay does now and then: at once, not before its time, and again each time it has come."""

import pytest

from flows import relay


async def test_work_is_due_at_once_and_then_again_each_time_its_seconds_are_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, done = [0.0], list[float]()

    async def work() -> None:
        done.extend(now)

    monkeypatch.setattr(relay, "monotonic", lambda: now[0])
    every = relay._Every(15.0, work)
    for now[0] in (1000.0, 1000.1, 1014.9, 1015.0, 1015.1, 1029.9, 1100.0, 1100.1, 1114.9, 1115.0):
        await every.when_due()
    assert done == [1000.0, 1015.0, 1100.0, 1115.0]  # what was missed while the relay was busy is done once
