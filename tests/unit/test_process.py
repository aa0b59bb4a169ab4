"""How a process of ours ends: told to, by an error, or because a part of it was cancelled."""

import asyncio

import pytest

from flows.process import lifecycle


async def _wait() -> None:
    await asyncio.Event().wait()


async def test_work_that_is_told_to_stop_is_cancelled_and_that_is_no_error() -> None:
    stop = asyncio.Event()
    stop.set()
    await lifecycle.unless(stop, lifecycle.together(_wait(), _wait()))


async def test_a_part_that_is_cancelled_without_being_told_does_not_look_done() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await lifecycle.unless(asyncio.Event(), lifecycle.together(_wait(), cancelled()))


async def test_the_first_error_ends_the_others_and_is_raised_as_it_is() -> None:
    async def wrong() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await lifecycle.unless(asyncio.Event(), lifecycle.together(_wait(), wrong()))


async def test_a_watch_that_fails_ends_the_work_it_looks_on() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await _wait()
        finally:
            ended.append("work")

    async def watch() -> None:
        await asyncio.sleep(0)
        raise ValueError("unseen")

    with pytest.raises(ValueError, match="unseen"):
        await lifecycle.beside(work(), watch())
    assert ended == ["work"]


async def test_work_that_is_done_ends_its_watch() -> None:
    await lifecycle.beside(asyncio.sleep(0), _wait())
