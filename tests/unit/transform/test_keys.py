"""Keys that come twice within a batch."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.batch import Refined
from tasks.canonical import canonical_key
from tasks.contract import UTC_MICROS, Contract, OnReturn
from tasks.transform.keys import deduplicate, hash_inputs
from tests.fixtures.readings import message

AT = datetime(2026, 11, 21, 1, 2, 3, 4, tzinfo=UTC)


def test_a_key_is_told_however_its_columns_lie_in_memory(contract: Contract) -> None:
    """Polars 2.1 panicked where a chunk ended before a null."""
    one, other = (
        pl.DataFrame({"device_id": ["f"], "timestamp": [at]}, schema_overrides={"timestamp": UTC_MICROS})
        for at in (AT, None)
    )
    found = canonical_key(pl.concat([one, other], rechunk=False), contract).to_list()
    assert found == ['{"device_id":"f","timestamp":"2026-11-21T01:02:03.000004Z"}', None]


@pytest.mark.parametrize("year", [0, 10_000])
def test_a_year_that_no_store_takes_is_no_key(year: int, contract: Contract) -> None:
    at = pl.DataFrame({"device_id": ["f"]}).with_columns(timestamp=pl.datetime(year, 1, 1, time_zone="UTC"))
    assert canonical_key(at, contract).to_list() == [None]


def test_the_same_again_is_a_duplicate(refined: Callable[..., Refined]) -> None:
    spelled_otherwise = message(
        temperature=21.50, humidity=40.0, timestamp="2026-11-21T12:59:58.123456+01:00"
    )
    result = refined(message(), spelled_otherwise, message(battery=3))
    assert result.accepted["sensor_readings"]["sequence"].to_list() == [0]
    assert (result.duplicates, result.rejected.height) == (2, 0)


def test_other_values_are_a_conflict(refined: Callable[..., Refined]) -> None:
    result = refined(message(), message(temperature=22), message(), message(temperature=22))
    assert result.accepted["sensor_readings"]["temperature"].to_list() == [21.5]
    assert result.duplicates == 1
    assert result.rejected["sequence"].to_list() == [1, 3]
    row = result.rejected.row(0, named=True)
    assert (row["stage"], row["rules"], row["error_type"]) == ("load", ["key.conflict"], "conflict")
    assert row["key"] == '{"device_id":"probe-1","timestamp":"2026-11-21T11:59:58.123456Z"}'
    assert row["input_hash"] is not None


def test_a_rejected_record_takes_no_key(refined: Callable[..., Refined]) -> None:
    result = refined(message(temperature=500), message())
    assert result.accepted["sensor_readings"]["sequence"].to_list() == [1]


def test_accepted_rows_are_sorted_by_key(refined: Callable[..., Refined]) -> None:
    sent = [(d, s) for s in (5, 1, 3) for d in ("b", "a", "ä", "B")]
    payloads = [message(device_id=d, timestamp=f"2026-11-21T11:00:0{s}Z") for d, s in sent]
    accepted = refined(*payloads, topics=[f"sensors/{d}/readings" for d, _ in sent]).accepted[
        "sensor_readings"
    ]
    keys = accepted.select("device_id", "timestamp").rows()
    assert keys == sorted(keys, key=lambda key: (key[0].encode(), key[1]))


def rows(contract: Contract, temperatures: list[float]) -> pl.DataFrame:
    n = len(temperatures)
    cells = {"sequence": range(n), "device_id": ["a"] * n, "timestamp": [AT] * n, "temperature": temperatures}
    schema = {column.name: contract.row_schema[column.name] for column in contract.inputs}
    frame = pl.DataFrame(cells, schema_overrides={**schema, "sequence": pl.Int32}, strict=False)
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in frame.columns]
    return hash_inputs(frame.with_columns(missing), contract)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_the_lowest_sequence_wins_whatever_the_order_of_rows(contract: Contract, order: list[int]) -> None:
    settled = deduplicate(rows(contract, [1.0, 2.0, 1.0, 3.0])[order], contract)
    assert settled.kept["sequence"].to_list() == [0]
    assert sorted(settled.conflicts["sequence"]) == [1, 3]
    assert (settled.duplicates, settled.superseded.height) == (1, 0)


def test_a_revised_key_keeps_the_last(contract: Contract) -> None:
    revising = contract.model_copy(update={"on_return": OnReturn.REVISE})
    settled = deduplicate(rows(contract, [1.0, 2.0, 3.0, 3.0]), revising)
    assert settled.kept["sequence"].to_list() == [3]
    assert sorted(settled.superseded["sequence"]) == [0, 1]
    assert (settled.duplicates, settled.conflicts.height) == (1, 0)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1))
def test_a_key_is_canonical_json(contract: Contract, device: str) -> None:
    frame = pl.DataFrame({"device_id": [device], "timestamp": [AT]})
    expected = {"device_id": device, "timestamp": "2026-11-21T01:02:03.000004Z"}
    text = json.dumps(expected, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical_key(frame, contract).to_list() == [text]


def test_a_key_with_a_part_missing_is_none(contract: Contract) -> None:
    frame = pl.DataFrame({"device_id": ["a", None, "a\x00"], "timestamp": [None, AT, AT]})
    assert canonical_key(frame, contract).to_list() == [None, None, None]
