"""Batches are refined side by side and committed in the order they came."""

import asyncio

import pytest

from flows.stream.turns import Line


@pytest.mark.parametrize("in_order", [True, False])
async def test_who_is_ready_first_waits_for_who_came_first(in_order: bool) -> None:
    line, done = Line(in_order=in_order), list[str]()
    slow, quick = line.join(), line.join()
    slow_ready = asyncio.Event()

    async def first() -> None:
        await slow_ready.wait()
        await slow.come()
        done.append("first")
        slow.leave()

    async def second() -> None:
        await quick.come()
        done.append("second")
        quick.leave()

    works = [asyncio.create_task(first()), asyncio.create_task(second())]
    for _ in range(5):
        await asyncio.sleep(0)
    assert done == ([] if in_order else ["second"])
    slow_ready.set()
    await asyncio.gather(*works)
    assert done == (["first", "second"] if in_order else ["second", "first"])
