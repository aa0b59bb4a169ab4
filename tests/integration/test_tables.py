"""What a table that stands keeps when its contract changes, on a real Postgres."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from infra.postgres import Connection
from lineage.errors import ContractError
from tasks.contract import Contract
from tasks.tables.tables import prepare_table
from tests.fixtures.commit import CONTRACT, Way, a_batch, a_way, message


@pytest.fixture
async def way(postgres_dsn: str) -> AsyncIterator[Way]:
    async with a_way(postgres_dsn) as way:
        yield way


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"key": ["timestamp"]}, r"key: \[device_id, timestamp\] and its contract now says \[timestamp\]"),
        ({"key": ["device_id", "received"], "time": "received"}, r"key: "),
        ({"time": "received", "key": ["device_id", "timestamp", "received"]}, r"key: "),
        ({"on_return": "revise"}, "on_return: append and its contract now says revise"),
        ({"on_return": "recompute"}, "on_return"),
        ({"partition_by": "month"}, "partition_by: day and its contract now says month"),
    ],
)
async def test_a_table_that_stands_keeps_what_it_was_made_for(
    way: Way, connection: Connection, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ContractError, match=sentence):
        await prepare_table(connection, _changed(change))
    assert await way.value("SELECT count(*) FROM store.contracts") == 1


async def test_the_time_of_a_table_stays(connection: Connection) -> None:
    both = ["device_id", "timestamp", "received"]
    await prepare_table(connection, _changed({"key": both}))
    with pytest.raises(ContractError, match="time: timestamp and its contract now says received"):
        await prepare_table(connection, _changed({"key": both, "time": "received"}))


async def test_a_column_that_is_new_is_added_and_a_type_that_changed_refused(
    way: Way, connection: Connection
) -> None:
    await way.take(a_batch(message("a", 1)))
    await prepare_table(connection, _changed({"version": 2}))
    assert await way.value("SELECT count(*) FROM sensor_readings WHERE received IS NULL") == 1
    raw = CONTRACT.model_dump(mode="json")
    for column in raw["columns"]:
        if column["name"] == "temperature":
            column["type"] = "integer"
    with pytest.raises(ContractError, match="temperature is stored as double precision"):
        await prepare_table(connection, Contract.model_validate(raw))


def _changed(change: dict[str, Any]) -> Contract:
    """The contract of readings with one more column, and with this change."""
    raw = CONTRACT.model_dump(mode="json")
    raw["columns"].append({"name": "received", "type": "timestamp"})
    return Contract.model_validate({**raw, **change})
