"""A source that is listened to until told to stop can be closed afterwards, however the listening ended."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import pytest

from flows.process.lifecycle import until


@pytest.mark.parametrize("cancelled", [True, False])
async def test_nobody_asks_the_source_any_more(cancelled: bool) -> None:
    async def source() -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.sleep(3600)

    items, stop, taken = source(), asyncio.Event(), list[int]()

    async def listen() -> None:
        async with aclosing(until(stop, items)) as coming:
            async for item in coming:
                taken.append(item)

    listening = asyncio.create_task(listen())
    for _ in range(10):
        await asyncio.sleep(0)
    if cancelled:
        listening.cancel()
    else:
        stop.set()
    with suppress(asyncio.CancelledError):
        await listening
    await items.aclose()  # raises if somebody still asks it
    assert taken == [1]
