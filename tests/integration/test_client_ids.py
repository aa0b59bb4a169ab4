"""Under which client id a listener is known to its broker: no pipeline goes on with another one's session."""

from pathlib import Path

from flows.stream.side_by_side import _session_of_before
from infra.mqtt.client import Publisher
from infra.postgres import Connection, open_pool
from infra.settings import load
from tasks.load.store import Store
from tasks.look import sessions as listeners
from tests.fixtures.catalogs import pipeline
from tests.fixtures.listening import SENSORS, Listeners, power
from tests.fixtures.waiting import until_stored

POWER = "power/m1"


async def test_a_session_of_before_is_gone_on_with_by_its_own_pipeline(
    postgres_dsn: str, tmp_path: Path
) -> None:
    settings = load(home=tmp_path, postgres_dsn=postgres_dsn, slot=2)
    async with (
        open_pool(postgres_dsn, application="test") as pool,
        Store(postgres_dsn, pool, application="test") as store,
    ):
        assert await _session_of_before(settings, SENSORS, store) is None
        await listeners.enter(pool, "headwater-2", "sensors")
        assert await _session_of_before(settings, SENSORS, store) == "headwater-2"
        assert await _session_of_before(settings, pipeline("sensors-kafka"), store) is None
        await listeners.leave(pool, "headwater-2")
        assert await _session_of_before(settings, SENSORS, store) is None


async def test_what_an_earlier_filter_asked_for_is_rejected_with_its_bytes(
    listeners: Listeners, connection: Connection, tmp_path: Path
) -> None:
    said = [b'{"timestamp": "2026-11-21T08:00:0%dZ", "temperature": 20}' % second for second in range(3)]
    async with Publisher(listeners.broker) as publisher:
        async with listeners.run(power("power/+")):
            await publisher.publish_many([(POWER, said[0])])
            await until_stored(connection, "SELECT count(*) FROM power", 1)
        await publisher.publish_many([(POWER, said[1])])
        async with listeners.run(power("energy/#")):
            await publisher.publish_many([("energy", said[2])])
            await until_stored(connection, "SELECT sum(read)::bigint FROM ledger", 3)
    assert await connection.fetchval("SELECT count(*) FROM power") == 2
    assert await connection.fetchval("SELECT client_id FROM store.listeners") == "headwater-power-0"
    row = await connection.fetchrow(
        "SELECT rules, location, message FROM store.rejected JOIN raw_batches USING (batch)"
    )
    assert row is not None
    assert row["rules"] == ["topic.pattern"]
