"""More rules of the commit: batches of duplicates, writers side by side, partitions on demand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from infra.postgres import Pool, open_pool
from lineage import naming
from lineage.errors import UnavailableError
from lineage.keys import NO_KEYS
from tasks.batch import Position, Receipt
from tasks.decode.messages import Decoder
from tasks.load.commit import load
from tasks.load.prepare import prepare
from tasks.load.store import Store
from tasks.look.verify import verify
from tasks.tables.tables import prepare_table
from tasks.transform import records
from tests.fixtures.commit import CONTRACT, REFERENCE, a_batch, a_plan, message
from tests.fixtures.readings import steps_of, topics_of

Messages = list[tuple[str, bytes]]


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(postgres_dsn, application="test") as pool:
        async with pool.acquire() as connection:
            await prepare_table(connection, CONTRACT)
        yield pool


class Writer:
    """One listener's way into the store, with a connection of its own."""

    def __init__(self, store: Store) -> None:
        self.store, self.plan = store, a_plan()

    async def take(self, messages: Messages, *, may_repeat: bool = False) -> Receipt:
        batch = a_batch(*messages, may_repeat=may_repeat)
        refined = records.refine(batch, REFERENCE, Decoder(CONTRACT), topics_of(batch), steps_of(CONTRACT))
        prepared = prepare(batch, refined, self.plan)
        while True:
            try:
                return await load(self.store, self.plan, prepared)
            except UnavailableError as error:
                if "deadlock" in str(error):
                    raise


@pytest.fixture
async def writers(postgres_dsn: str, pool: Pool) -> AsyncIterator[list[Writer]]:
    async with AsyncExitStack() as stack:
        yield [
            Writer(await stack.enter_async_context(Store(postgres_dsn, pool, application=f"writer {n}")))
            for n in range(4)
        ]


async def test_a_batch_of_duplicates_only_is_written_and_is_no_orphan(
    pool: Pool, writers: list[Writer]
) -> None:
    messages = [message("a", second) for second in range(5)]
    await writers[0].take(messages)
    receipt = await writers[0].take(messages, may_repeat=True)
    assert (receipt.read, receipt.duplicates, receipt.accepted["sensor_readings"]) == (5, 5, 0)
    edges = await pool.fetch(
        "SELECT relationship_type, source_key, target_key FROM lineage_log WHERE batch = $1",
        receipt.batch,
    )
    source = naming.mqtt("sensors/+/readings")
    assert [tuple(edge) for edge in edges] == [("PART_OF", f"{source}#{receipt.batch}", source)]
    assert await pool.fetchval("SELECT count FROM raw_batches WHERE batch = $1", receipt.batch) == 5
    await verify(pool, receipt, NO_KEYS)


async def test_writers_of_the_same_keys_in_any_order_store_each_once(
    pool: Pool, writers: list[Writer]
) -> None:
    messages = [message(f"d{n % 50}", n % 60, temperature=n % 40) for n in range(300)]
    distinct = len(set(messages))
    orders = [messages, messages[::-1], messages[150:] + messages[:150], sorted(messages)]
    pairs = zip(writers, orders, strict=True)
    receipts = await asyncio.gather(*(writer.take(order, may_repeat=True) for writer, order in pairs))
    assert sum(receipt.accepted["sensor_readings"] for receipt in receipts) == distinct
    assert sum(receipt.read for receipt in receipts) == 4 * len(messages)
    assert await pool.fetchval("SELECT count(*) FROM sensor_readings") == distinct
    for receipt in receipts:
        await verify(pool, receipt, NO_KEYS)


async def test_writers_that_reject_the_same_bytes_keep_them_once(pool: Pool, writers: list[Writer]) -> None:
    messages = [("sensors/a/readings", f"no json {n}".encode()) for n in range(200)]
    receipts = await asyncio.gather(
        writers[0].take(messages, may_repeat=True), writers[1].take(messages[::-1], may_repeat=True)
    )
    assert sum(receipt.rejected for receipt in receipts) == 200
    assert await pool.fetchval("SELECT count(*) FROM rejected") == 200
    for receipt in receipts:
        await verify(pool, receipt, NO_KEYS)


async def test_the_same_position_committed_twice_at_once_is_one_batch(
    pool: Pool, writers: list[Writer]
) -> None:
    position = Position(source="opentrons:ot2/runs", detail={"run_id": "1", "content_sha256": "ab"})
    batch = replace(a_batch(*(message("a", second) for second in range(5))), position=position)
    refined = records.refine(batch, REFERENCE, Decoder(CONTRACT), topics_of(batch), steps_of(CONTRACT))
    receipts = await asyncio.gather(
        *(load(writer.store, writer.plan, prepare(batch, refined, writer.plan)) for writer in writers)
    )
    assert sorted(receipt.way == "repeat" for receipt in receipts) == [False, True, True, True]
    assert len({receipt.batch for receipt in receipts}) == 1
    assert await pool.fetchval("SELECT count(*) FROM ledger") == 1
    assert await pool.fetchval("SELECT count(*) FROM sensor_readings") == 5


async def test_partitions_come_on_demand_beside_open_transactions(pool: Pool, writers: list[Writer]) -> None:
    days = [datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=n) for n in range(8)]

    async def take(writer: Writer, device: str, own: list[datetime]) -> None:
        for day in own:
            await writer.take([message(device, 1, timestamp=day.isoformat())])

    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE store.sensor_readings IN ROW EXCLUSIVE MODE")  # an open ingest
        await asyncio.gather(
            *(take(writer, f"w{n}", days[n:] + days[:n]) for n, writer in enumerate(writers))
        )
    assert await pool.fetchval("SELECT count(*) FROM sensor_readings") == len(days) * len(writers)
    partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'store.sensor_readings'::regclass"
    assert await pool.fetchval(partitions) == len(days)
