"""What `headwater listen` refuses before it reads anything."""

from pathlib import Path

import pytest

from flows.stream.side_by_side import listen
from infra.local.process import free_port
from infra.settings import load
from lineage.errors import ContractError
from tests.fixtures.catalogs import pipeline


@pytest.mark.parametrize("name", ["sensors-files", "sensors-kafka"])
async def test_nothing_is_kept_for_a_listener_that_is_no_brokers_client(name: str, tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    settings = load(
        home=tmp_path,
        postgres_dsn="postgresql://127.0.0.1:9/none",
        kafka_url="kafka://127.0.0.1:9",
        metrics_port=free_port(),
    )
    with pytest.raises(ContractError, match="--drain is for MQTT"):
        await listen(settings, [pipeline(name)], leave=True)
