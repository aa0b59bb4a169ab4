"""What every source keeps, whatever it is: each record once, whatever ends between any two steps.

A new kind is a class in `tests/fixtures/sources.py`.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from flows.process import stores
from flows.process.lifecycle import State
from flows.stream import listener as listener_module
from flows.stream.listener import Listener
from flows.stream.streams import stream_of
from infra.local.addresses import Address
from infra.metrics import Metrics
from tasks.batch import RawBatch
from tasks.load.commit import load
from tasks.load.overtaken import OvertakenError
from tasks.load.refused import halves
from tests.fixtures.from_bytes import a_house
from tests.fixtures.sources import BAD, SOURCES, STREAMS, Ground, records
from tests.fixtures.waiting import until

CUT = {name: kind for name, kind in SOURCES.items() if name != "a robot"}
"""A run of a robot is one batch, which nothing halves."""


@pytest.fixture
async def ground(
    kind: Ground, postgres_dsn: str, graph_address: Address, tmp_path: Path
) -> AsyncIterator[Ground]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        kind.write(house)
        await stores.prepare_each(house.settings, kind.pipeline.every_contract)
        async with kind.reading() as coming:  # a broker keeps what comes from now on
            with pytest.raises((TimeoutError, StopAsyncIteration)):
                await asyncio.wait_for(anext(coming), 6 if kind.__class__.__name__ == "Kafka" else 0.5)
        yield kind


@pytest.fixture
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    kinds: dict[str, type[Ground]] = {**SOURCES}
    return kinds[request.param](request, tmp_path)


async def first_of(ground: Ground) -> RawBatch:
    """The next batch, as a process extracts it that then ends without a word."""
    async with ground.reading() as coming:
        return await asyncio.wait_for(anext(coming), 60)


async def read_on(ground: Ground, expected: int) -> None:
    """Until so many records are stored."""
    async with ground.reading() as coming, asyncio.timeout(120):
        while await ground.stored() < expected:
            batch = await anext(coming, None)
            assert batch is not None, await ground.stored()
            await ground.take(batch)


async def came_to_nothing(ground: Ground, late: RawBatch) -> bool:
    """Whether a batch that another reader committed meanwhile is overtaken, or found to be stored."""
    try:
        receipt = await ground.commit(late)
    except OvertakenError as error:
        await late.abandon()
        return "reading goes on from where that one stopped" in str(error)
    return receipt.way == "repeat" or receipt.duplicates == receipt.read


async def assert_each_once(ground: Ground, expected: int) -> None:
    assert await ground.stored() == expected
    assert await ground.written() == expected
    proof = await ground.house.prove()
    assert proof.ok, proof.differences


@pytest.mark.parametrize("kind", SOURCES, indirect=True)
async def test_a_crash_between_any_two_steps_loses_nothing_and_doubles_nothing(ground: Ground) -> None:
    await ground.add(*records(0, 10), BAD)
    await first_of(ground)  # extracted
    batch = await first_of(ground)
    await ground.commit(batch)  # committed, and not acknowledged
    assert await came_to_nothing(ground, batch)  # its answer was lost
    await read_on(ground, 11)
    await ground.add(*records(10, 14))
    await read_on(ground, 15)
    await assert_each_once(ground, 15)


@pytest.mark.parametrize("kind", SOURCES, indirect=True)
async def test_what_another_reader_has_read_is_stored_once_and_reading_goes_on(ground: Ground) -> None:
    await ground.add(*records(0, 10), BAD)
    late = await first_of(ground)
    await read_on(ground, 11)
    assert await came_to_nothing(ground, late)
    await ground.add(*records(10, 14))
    await read_on(ground, 15)
    await assert_each_once(ground, 15)


@pytest.mark.parametrize("kind", CUT, indirect=True)
async def test_a_batch_that_is_halved_is_stored_once_wherever_it_ends(ground: Ground) -> None:
    await ground.add(*records(0, 10), BAD)
    two = halves(await first_of(ground))
    assert two is not None
    await ground.commit(two[0])  # and it ends before the other one
    async with ground.reading() as coming:
        batch = await asyncio.wait_for(anext(coming), 60)
        for half in halves(batch) or ():
            await ground.commit(half)
        await batch.acknowledge()
    await read_on(ground, 11)
    await assert_each_once(ground, 11)


@pytest.mark.parametrize("kind", STREAMS, indirect=True)
async def test_what_is_not_committed_bounds_what_is_read_on(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, given, stop = asyncio.Event(), ground.listening(), asyncio.Event()

    async def once_held(*batch: object) -> object:
        await held.wait()
        return await load(*batch)  # type: ignore[arg-type]

    monkeypatch.setattr(listener_module, "load", once_held)
    stream, metrics = stream_of(ground.pipeline), Metrics(CollectorRegistry())
    listener = Listener(
        ground.settings, ground.pipeline, ground.plan(), [ground.house.store], given, metrics, State()
    )
    read = list[RawBatch]()

    async def counted(coming: AsyncIterator[RawBatch]) -> AsyncIterator[RawBatch]:
        async for batch in coming:
            read.append(batch)
            yield batch

    await listener.enter()
    await ground.add(*records(0, 40))
    async with stream.open(given) as coming:
        running = asyncio.create_task(listener.run(counted(coming), stop))
        await until(lambda: len(read) == stream.at_once, 60.0)
        await asyncio.sleep(1)
        assert len(read) == stream.at_once
        held.set()
        async with asyncio.timeout(60):
            while await ground.stored() < 40:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.1)
        stop.set()
        await running
    await assert_each_once(ground, 40)
