"""Partitions made ahead, on a real Postgres."""

from datetime import UTC, datetime

from pydantic import SecretStr

from flows.acts.partitions import extend
from infra.postgres import connect
from infra.settings import Settings
from tests.fixtures.catalogs import SHIPPED


async def test_every_table_is_ready_for_the_days_to_come(postgres_dsn: str) -> None:
    settings = Settings(postgres_dsn=SecretStr(postgres_dsn))
    now = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)
    for _again in range(2):
        assert "sensor_readings" in await extend(settings, SHIPPED, now)
    connection = await connect(postgres_dsn, application="test")
    rows = await connection.fetch(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = 'store.sensor_readings'::regclass ORDER BY 1"
    )
    await connection.close()
    assert [row["relname"] for row in rows] == [
        "sensor_readings_20261231",
        "sensor_readings_20270101",
        "sensor_readings_20270102",
    ]
