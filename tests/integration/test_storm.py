"""A device that sends nothing but bad records: it holds up no other, and its bytes are kept once."""

from collections.abc import AsyncIterator

import pytest

from infra.mqtt.client import Publisher
from infra.postgres import Connection
from tests.fixtures.commit import Way, a_batch, a_way, message
from tests.fixtures.listening import Listeners
from tests.fixtures.waiting import until_stored

STORM = 5_000
MARK = "Sturmbö"
BAD = "sensors/bad/readings"
CARRIED = "pg_column_size(r.*) > 1000 OR r::text LIKE '%Sturm%'"
"""A rejected row that carries bytes of its message."""


@pytest.fixture
async def way(postgres_dsn: str) -> AsyncIterator[Way]:
    async with a_way(postgres_dsn) as way:
        yield way


def storm(first: int = 0, length: int = STORM) -> list[tuple[str, bytes]]:
    """Bad records of one device, each another: not JSON, or with a value of the wrong type."""
    kinds = ('{{"{mark}": {n}', '{{"device_id": "bad", "timestamp": {n}, "temperature": "{mark}"}}')
    return [(BAD, kinds[n % 2].format(mark=MARK, n=n).encode()) for n in range(first, first + length)]


async def test_good_records_among_bad_ones_take_the_fast_way(way: Way) -> None:
    for turn in range(2):
        bad, good = storm(turn * STORM), [message("good", second + turn * 30) for second in range(30)]
        receipt = await way.take(a_batch(*bad[:2_500], *good, *bad[2_500:]))
        assert (receipt.way, receipt.accepted) == ("fast", {"sensor_readings": 30})
        assert receipt.rejected == STORM
    assert await way.value("SELECT count(*) FROM ledger") == 2  # one commit each, nothing was halved


async def test_the_bytes_of_a_storm_lie_in_raw_once(way: Way) -> None:
    long = (BAD, f'{{"{MARK}": "{"x" * 60_000}"'.encode())
    messages = [*storm(length=100), long]
    receipt = await way.take(a_batch(*messages))
    assert await way.value("SELECT count(*) FROM rejected") == receipt.rejected == 101
    assert await way.value(f"SELECT count(*) FROM store.rejected r WHERE {CARRIED}") == 0
    size = sum(len(payload) for _, payload in messages)
    assert await way.value("SELECT sum(bytes) FROM raw_batches") == size


async def test_a_storm_that_comes_again_is_rejected_once(way: Way) -> None:
    await way.take(a_batch(*storm()))
    again = await way.take(a_batch(*storm(), message("good", 1), may_repeat=True))
    assert (again.duplicates, again.rejected, again.accepted) == (STORM, 0, {"sensor_readings": 1})
    assert await way.value("SELECT count(*) FROM rejected") == STORM


async def test_a_good_device_is_committed_while_another_storms(
    listeners: Listeners, connection: Connection
) -> None:
    async with listeners.run(), Publisher(listeners.broker) as publisher:
        for second in range(10):
            await publisher.publish_many([*storm(second * 500, 500), message("good", second)])
        await until_stored(connection, "SELECT count(*) FROM rejected", STORM)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 10
    assert await connection.fetchval("SELECT count(*) FROM ledger WHERE way <> 'fast'") == 0
