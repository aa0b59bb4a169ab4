"""`start: latest` on a real broker: what is published after the first start is read, wherever."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from flows.stream.streams import listening_of
from infra.local.addresses import Address
from infra.postgres import Pool, open_pool
from infra.settings import Settings
from lineage.model import Run
from tasks.batch import RawBatch
from tasks.extract.kafka import KafkaOptions
from tasks.load import progress
from tasks.load.store import Store
from tests.fixtures.catalogs import pipeline as named
from tests.fixtures.commit import NOW
from tests.fixtures.kafka import Topic
from tests.fixtures.waiting import until

BEFORE = {f"before {number}" for number in range(8)}


class Member:
    """A listener's source: what it read; nothing is committed unless it is told to."""

    def __init__(self, pool: Pool, topic: str) -> None:
        self.read: set[str] = set()
        self._pool, self._topic = pool, topic

    async def take(self, batches: AsyncIterator[RawBatch], commit: bool) -> None:
        async for batch in batches:
            self.read |= {payload.decode() for payload in batch.messages["payload"]}
            for at in batch.progress if commit else ():
                await progress.go_on(self._pool, "sensors-kafka", f"kafka:{self._topic}", at)


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[Store]:
    async with (
        open_pool(postgres_dsn, application="test") as pool,
        Store(postgres_dsn, pool, application="test") as store,
    ):
        yield store


@asynccontextmanager
async def reading(
    store: Store, address: Address, topic: Topic, *, commit: bool = False
) -> AsyncIterator[Member]:
    """A member that reads until the block ends."""
    source = KafkaOptions(topic=topic.name, start="latest", session_timeout=timedelta(seconds=6))
    pipeline = named("sensors-kafka").model_copy(update={"source": source})
    plan = pipeline.load_plan(Run(id=uuid4(), kind="command", name="test", started_at=NOW))
    settings = Settings(kafka_url=address.url)
    given = listening_of(settings, pipeline, plan, store.pool, "headwater-test-0")
    member = Member(store.pool, topic.name)
    async with source.open(given) as coming:
        taking = asyncio.create_task(member.take(coming, commit))
        try:
            yield member
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)


def begun(logs: Sequence[Mapping[str, Any]], partitions: int) -> bool:
    return any(len(each["next"]) == partitions for each in logs if each["event"] == "partitions begun")


async def test_what_is_published_while_it_restarts_before_its_first_commit_is_read(
    store: Store, kafka_address: Address, topic: Topic
) -> None:
    topic.make(2)
    topic.publish(BEFORE, 2)
    with capture_logs() as logs:
        async with reading(store, kafka_address, topic) as member:
            await until(lambda: begun(logs, 2), 60.0)
    assert member.read == set()
    after = {f"after {number}" for number in range(8)}
    topic.publish(after, 2)
    topic.grow(3)
    grown = {f"grown {number}" for number in range(9)}
    topic.publish(grown, 3)
    async with reading(store, kafka_address, topic) as again:
        await until(lambda: again.read == after | grown, 60.0)


async def test_a_partition_that_comes_while_it_reads_is_read_from_its_beginning(
    store: Store, kafka_address: Address, topic: Topic
) -> None:
    topic.make(1)
    topic.publish(BEFORE, 1)
    with capture_logs() as logs:
        async with reading(store, kafka_address, topic, commit=True) as member:
            await until(lambda: begun(logs, 1), 60.0)
            topic.grow(3)
            grown = {f"grown {number}" for number in range(20)}
            topic.publish(grown, 3)  # before the member knows of it
            await until(lambda: member.read == grown, 90.0)


async def test_a_topic_that_comes_after_the_start_is_read_from_its_beginning_and_told(
    store: Store, kafka_address: Address, topic: Topic
) -> None:
    with capture_logs() as logs:
        async with reading(store, kafka_address, topic) as member:
            await until(lambda: any("no such topic" in entry["event"] for entry in logs), 60.0)
            topic.make(2)
            topic.publish(BEFORE, 2)
            await until(lambda: member.read == BEFORE, 90.0)
    told = [entry["event"] for entry in logs if entry["event"] != "partitions begun"]
    assert told == [
        "topic read for the first time",
        "there is no such topic, waited for",
        "the topic is there",
    ]
