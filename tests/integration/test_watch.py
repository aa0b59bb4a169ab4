"""The watch over a listener: it goes on without the right to show presence, and cannot end unseen."""

import asyncio

import pytest

from flows.stream import listener
from flows.stream.streams import Showing
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from tests.fixtures.listening import SENSORS, Listeners
from tests.fixtures.waiting import until_stored

SEEN = "SELECT count(*) FROM store.listeners WHERE seen_at > clock_timestamp() - interval '1 second'"


@pytest.fixture
def present_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PRESENT_EVERY", 0.0)
    monkeypatch.setattr(listener, "WATCH_EVERY", 0.1)


@pytest.mark.usefixtures("present_always")
async def test_presence_that_cannot_be_shown_stops_neither_health_nor_metrics(
    listeners: Listeners, connection: Connection
) -> None:
    limited = SENSORS.model_copy(update={"rejected_limit": 1})
    async with listeners.run(limited) as listening, Publisher(listeners.broker) as publisher:
        await connection.execute("ALTER TABLE store.listeners RENAME TO away")
        await asyncio.sleep(0.5)  # several looks
        await publisher.publish_many([("sensors/a/readings", b"bad")])
        await listening.until("not read")
        assert listening.value("rejected_limit_reached") == 1
        await connection.execute("ALTER TABLE store.away RENAME TO listeners")
        await connection.execute("UPDATE store.listeners SET seen_at = 'epoch'")
        await until_stored(connection, SEEN, 1)


async def test_a_watch_that_fails_ends_the_listener_with_its_error(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    def show(*_: object) -> str:
        raise ValueError("it cannot be shown")

    monkeypatch.setattr(Showing, "show", show)
    with pytest.raises(ValueError, match="it cannot be shown"):
        async with listeners.run():
            pass
