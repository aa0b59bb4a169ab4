"""What the steps of `sensors` add to a reading, and that nothing else changes."""

from collections.abc import Callable

import polars as pl
import pytest

from lineage.digest import row_hashes
from tasks.batch import ORIGIN_SCHEMA, Refined
from tasks.contract import Contract
from tests.fixtures.readings import message

Refine = Callable[..., Refined]
KNOWN = ("probe-1", "Bench probe", "SHT45", "Lab 2")


def test_accepted_rows_have_the_contracts_columns_and_their_origin(
    refined: Refine, contract: Contract
) -> None:
    accepted = refined(message()).accepted["sensor_readings"]
    assert accepted.schema == pl.Schema({**contract.row_schema, **ORIGIN_SCHEMA})


def test_a_known_device_brings_its_register_entry(refined: Refine) -> None:
    row = refined(message(), devices=[KNOWN]).accepted["sensor_readings"].row(0, named=True)
    assert (row["device_name"], row["device_model"], row["device_site"]) == KNOWN[1:]
    assert (row["place"], row["country"], row["time_zone"]) == ("Munich", "DE", "Europe/Berlin")
    assert row["source_name"] == "lab sensors"
    assert row["dew_point"] == pytest.approx(7.4, abs=0.1)
    assert row["heat_index"] == pytest.approx(20.8, abs=0.1)


def test_an_unknown_device_gets_nulls(refined: Refine) -> None:
    row = (
        refined(message(), devices=[("other", "a", "b", "c")]).accepted["sensor_readings"].row(0, named=True)
    )
    assert (row["device_name"], row["device_model"], row["device_site"]) == (None, None, None)


def test_without_a_location_there_is_no_place(refined: Refine) -> None:
    row = refined(message(location=None)).accepted["sensor_readings"].row(0, named=True)
    assert (row["place"], row["country"], row["time_zone"]) == (None, None, None)


def test_the_input_hash_knows_nothing_of_the_enrichment(refined: Refine, contract: Contract) -> None:
    one, other = (refined(message(), devices=d).accepted["sensor_readings"] for d in ([KNOWN], []))
    assert one["device_name"].to_list() != other["device_name"].to_list()
    assert one["input_hash"].to_list() == other["input_hash"].to_list()
    assert one["input_hash"].to_list() == row_hashes(one, [c.name for c in contract.inputs]).to_list()


def test_real_rooms_and_their_readings_pass_whole(
    refined: Refine, room_samples: list[tuple[float, float, float]]
) -> None:
    payloads = [
        message(temperature=t, humidity=rh, timestamp=1795000000 + 60 * n)
        for n, (t, rh, _) in enumerate(room_samples)
    ]
    accepted = refined(*payloads).accepted["sensor_readings"].sort("sequence")
    assert accepted.select("temperature", "humidity").rows() == [(t, rh) for t, rh, _ in room_samples]
    assert (accepted["dew_point"] <= accepted["temperature"]).all()
