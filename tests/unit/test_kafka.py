"""Our Kafka consumer over a client that only notes in what order it is called."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event

import confluent_kafka
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from infra.kafka import Consumer, KafkaAddress, Polled

CALLS: dict[str, Callable[[Consumer], object]] = {
    "poll": lambda consumer: consumer.poll(1, timedelta(seconds=1), timedelta(0)),
    "start_at": lambda consumer: consumer.start_at({0: 0}),
    "watermarks": lambda consumer: consumer.watermarks(0),
}


class Client:
    """Each call but `close` lasts until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = Event(), Event()
        self.ended: list[str] = []

    def _last(self, *_: object) -> tuple[()]:
        self.entered.set()
        assert self.let_go.wait(30)
        self.ended.append("call")
        return ()

    consume = assign = _last

    def get_watermark_offsets(self, *_: object) -> tuple[int, int]:
        self._last()
        return 0, 0

    def resume(self, *_: object) -> None: ...

    def subscribe(self, *_: object, **__: object) -> None: ...

    def close(self) -> None:
        self.ended.append("close")


def test_brokers_that_are_away_are_told_once() -> None:
    address = KafkaAddress(url=SecretStr("kafka://127.0.0.1:9"))
    caught = LogCapture()
    logger = logging.getLogger("confluent_kafka")
    logger.addHandler(caught)
    consumer = Consumer(address, "topic", "group", "client", session_timeout=timedelta(seconds=10))
    try:
        with capture_logs() as logs:
            for _ in range(20):
                consumer.poll(1, timedelta(milliseconds=100), timedelta(0))
            assert [(entry["log_level"], entry["event"]) for entry in logs] == [
                ("warning", "Kafka is away, tried again")
            ]
            consumer.start_at({})  # as when the client gives up its partitions
            assert len(logs) == 1
            assert consumer.reason is not None
        assert caught.said == []
    finally:
        consumer.close()
        logger.removeHandler(caught)


class LogCapture(logging.Handler):
    """Keeps what a library logs."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.mark.parametrize("name", CALLS)
async def test_who_closes_it_waits_for_a_call_that_nobody_waits_for_any_more(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    monkeypatch.setattr(confluent_kafka, "Consumer", lambda *_, **__: client)
    address = KafkaAddress(url=SecretStr("kafka://127.0.0.1:9"))
    consumer = Consumer(address, "topic", "group", "client", session_timeout=timedelta(seconds=10))
    calling = asyncio.create_task(asyncio.to_thread(CALLS[name], consumer))
    assert await asyncio.to_thread(client.entered.wait, 30)
    calling.cancel()
    closing = asyncio.create_task(asyncio.to_thread(consumer.close))
    await asyncio.wait({closing}, timeout=0.3)
    client.let_go.set()
    await closing
    assert client.ended == ["call", "close"]


async def test_what_is_polled_begins_when_its_first_message_came_not_when_it_was_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client()
    monkeypatch.setattr(confluent_kafka, "Consumer", lambda *_, **__: client)
    address = KafkaAddress(url=SecretStr("kafka://127.0.0.1:9"))
    consumer = Consumer(address, "topic", "group", "client", session_timeout=timedelta(seconds=10))
    polling = asyncio.create_task(asyncio.to_thread(CALLS["poll"], consumer))
    assert await asyncio.to_thread(client.entered.wait, 30)
    await asyncio.sleep(0.05)
    comes = datetime.now(UTC)
    client.let_go.set()
    polled = await polling
    assert isinstance(polled, Polled)
    assert comes <= polled.first_at <= polled.last_at
