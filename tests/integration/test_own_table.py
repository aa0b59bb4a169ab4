"""A source we never heard of: one YAML file and a contract, and its records are stored, judged and traced."""

from pathlib import Path

import pytest

from flows import catalog
from flows.catalog import load_pipeline
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from lineage.errors import ContractError
from tasks.contract import Contract
from tests.fixtures.listening import Listeners
from tests.fixtures.waiting import until_stored

CONTRACT = """
table: power_readings
key: [meter, at]
time: at
columns:
  - {name: meter, type: text, missing: reject}
  - {name: at, type: timestamp, missing: reject}
  - {name: watts, type: float, minimum: 0}
  - {name: place, type: text, doc: said by the meter}
  - {name: source_name, type: text, doc: said by the meter}
"""
PIPELINE = """
name: power
doc: Meters of a building.
owner: facilities
source_name: building
source: {type: mqtt, topic_filter: power/#}
transform: readings
tables: [{name: power_readings}]
"""


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the pipeline's file; its contract is the only one."""
    (tmp_path / "power_readings.yaml").write_text(CONTRACT)
    (tmp_path / "power.yaml").write_text(PIPELINE)
    monkeypatch.setattr(catalog, "CONTRACTS", tmp_path)
    return tmp_path / "power.yaml"


def of_meter(watts: float) -> bytes:
    said = '"place": "cellar", "source_name": "own word"'
    return f'{{"meter": "m1", "at": "2026-11-21T08:00:00Z", "watts": {watts}, {said}}}'.encode()


async def test_its_records_are_stored_as_they_came_and_judged_by_its_contract(
    listeners: Listeners, connection: Connection, pipeline: Path
) -> None:
    async with listeners.run(load_pipeline(pipeline)), Publisher(listeners.broker) as publisher:
        await publisher.publish_many([("power/cellar", of_meter(40.5)), ("power/cellar", of_meter(-1))])
        await until_stored(connection, "SELECT sum(read)::bigint FROM ledger", 2)
    rows = await connection.fetch("SELECT meter, watts, place, source_name FROM power_readings")
    assert [tuple(row) for row in rows] == [("m1", 40.5, "cellar", "own word")]
    assert await connection.fetchval("SELECT rules FROM rejected") == ["watts.range"]
    edges = await connection.fetchval("SELECT count(*) FROM lineage_log WHERE batch = 1")
    assert edges > 2


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("{name: cost, type: float, derived: true}", "`readings` cannot derive cost, only device_name"),
        ("{name: dew_point, type: float, derived: true}", "dew_point is derived from temperature, humidity"),
    ],
)
def test_what_cannot_be_derived_is_refused_at_the_start(pipeline: Path, column: str, said: str) -> None:
    contract = pipeline.with_name("power_readings.yaml")
    contract.write_text(CONTRACT + f"  - {column}\n")
    with pytest.raises(ContractError, match=said):
        load_pipeline(pipeline).refine()


def test_a_contract_tells_what_is_derived() -> None:
    columns = [{"name": "at", "type": "timestamp"}, {"name": "place", "type": "text", "derived": True}]
    contract = Contract.model_validate({"table": "t", "key": ["at"], "time": "at", "columns": columns})
    assert (contract.derived, [column.name for column in contract.inputs]) == (("place",), ["at"])
