"""A contract that cannot be prepared: its own table stands still, and is told; all others go on."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from flows.acts import aggregates, partitions
from infra.postgres import connect
from infra.settings import load
from lineage.errors import ContractError
from lineage.model import Run
from tests.fixtures.aggregates import NOW, at, reading
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import a_batch, a_way


async def test_the_others_go_on(postgres_dsn: str, tmp_path: Path) -> None:
    settings = load(home=tmp_path, postgres_dsn=postgres_dsn)
    connection = await connect(postgres_dsn, application="test")
    try:
        async with a_way(postgres_dsn) as way:
            await partitions.extend(settings, SHIPPED, datetime.now(UTC))
            await way.take(a_batch(reading("a", at(1))))
            await connection.execute("DELETE FROM store.contracts WHERE table_name = 'experiment_summary'")
            await connection.execute("DROP VIEW experiment_summary")
            await connection.execute("ALTER TABLE store.experiment_summary ALTER COLUMN steps TYPE text")
            with capture_logs() as logs:
                ready = await partitions.extend(settings, SHIPPED, datetime.now(UTC))
            everything = {contract.table for contract in SHIPPED.contracts.values()}
            assert set(ready) == everything - {"experiment_summary"}
            told = [entry for entry in logs if entry["log_level"] == "error"]
            assert [entry["table"] for entry in told] == ["experiment_summary"]
            assert "is there already, of something else" in told[0]["reason"]
            run = Run(id=uuid4(), kind="flow", name="aggregates", started_at=NOW)
            with pytest.raises(ContractError, match=r"Not refreshed: experiment_summary .* The others were"):
                await aggregates.refresh_all(settings, SHIPPED, run)
            assert await connection.fetchval("SELECT count(*) FROM sensor_readings_hourly") == 1
    finally:
        await connection.close()
