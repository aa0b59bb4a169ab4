"""Kafka's consumer without a broker: its calls are done one at a time."""

import asyncio
from datetime import timedelta

from pydantic import SecretStr

from infra.kafka import Consumer, KafkaAddress
from tests.fixtures.waiting import until


async def test_who_closes_it_waits_for_a_poll_that_nobody_waits_for() -> None:
    address = KafkaAddress(url=SecretStr("kafka://127.0.0.1:9"))
    consumer = Consumer(address, "topic", "group", "client", session_timeout=timedelta(seconds=10))
    polling = asyncio.create_task(asyncio.to_thread(_poll, consumer, ended := list[str]()))
    await until(lambda: consumer.reason != "not connected yet")  # the poll is under way
    polling.cancel()
    await asyncio.to_thread(consumer.close)
    assert ended == ["poll"]


def _poll(consumer: Consumer, ended: list[str]) -> None:
    consumer.poll(1, timedelta(seconds=3), timedelta(0))
    ended.append("poll")
