"""The count of `make chaos` sees what is lost, stored twice, or where it may not be."""

import io
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from tests.chaos.count import Expected, Found
from tests.chaos.folder import SCHEMA
from tests.chaos.readings import PER_FILE, Format, Kind, Readings
from tests.chaos.records import Records
from tests.chaos.ways import FILES

READINGS = Readings(seed=3, start=datetime(2026, 11, 21, tzinfo=UTC))
EXPECTED = Expected((READINGS, range(500)))
RIVALS = {number for number in EXPECTED.all if READINGS.rivals(number) is not None}


def as_it_should() -> Found:
    bad = {number for number, reading in EXPECTED.all.items() if reading.key is None}
    return Found(stored=Counter(EXPECTED.all.keys() - bad - RIVALS), rejected=Counter(bad | RIVALS))


def test_the_readings_are_of_every_kind_and_the_same_each_time() -> None:
    assert {READINGS.kind(number) for number in range(500)} == set(Kind)
    assert len(EXPECTED.by_payload) == len(EXPECTED.all)
    assert EXPECTED.all == Expected((replace(READINGS), range(500))).all
    assert RIVALS


def test_everything_once_is_neither_lost_nor_duplicated() -> None:
    verdict = EXPECTED.verdict(as_it_should())
    assert (verdict.lost, verdict.duplicated) == (0, 0)
    assert verdict.stored + verdict.rejected == 500


def test_of_rivals_either_may_be_the_one_stored() -> None:
    found, rival = as_it_should(), min(RIVALS)
    other = READINGS.rivals(rival)
    assert other is not None
    found.stored.update({rival: 1, other: -1})
    found.rejected.update({rival: -1, other: 1})
    found.stored, found.rejected = +found.stored, +found.rejected
    verdict = EXPECTED.verdict(found)
    assert (verdict.lost, verdict.duplicated) == (0, 0)


def good() -> int:
    """A number without a rival."""
    rivalled = {READINGS.rivals(number) for number in RIVALS}
    return next(n for n in range(500) if READINGS.kind(n) is Kind.GOOD and n not in rivalled)


def torn() -> int:
    return next(n for n in range(500) if READINGS.kind(n) is Kind.TORN)


def edge() -> int:
    return next(n for n in range(500) if READINGS.kind(n) is Kind.EDGE)


@pytest.mark.parametrize(
    ("number", "stored", "rejected", "lost", "duplicated"),
    [
        pytest.param(good(), -1, 0, 1, 0, id="a good one is missing"),
        pytest.param(good(), 1, 0, 0, 1, id="a good one is stored twice"),
        pytest.param(good(), 0, 1, 0, 1, id="a good one is stored and rejected"),
        pytest.param(good(), -1, 1, 1, 0, id="a good one is rejected"),
        pytest.param(torn(), 0, -1, 1, 0, id="a bad one is missing"),
        pytest.param(torn(), 0, 1, 0, 1, id="a bad one is rejected twice"),
        pytest.param(torn(), 1, -1, 1, 0, id="a bad one is stored"),
        pytest.param(edge(), -1, 1, 0, 0, id="one that a tighter contract refuses is rejected"),
        pytest.param(edge(), 0, 1, 0, 1, id="one that a tighter contract refuses is stored and rejected"),
        pytest.param(edge(), -1, 0, 1, 0, id="one that a tighter contract refuses is missing"),
    ],
)
def test_what_is_wrong_is_counted(
    number: int, stored: int, rejected: int, lost: int, duplicated: int
) -> None:
    found = as_it_should()
    found.stored.update({number: stored})
    found.rejected.update({number: rejected})
    found.stored, found.rejected = +found.stored, +found.rejected  # without zeros
    verdict = EXPECTED.verdict(found)
    assert (verdict.lost, verdict.duplicated) == (lost, duplicated)


def test_a_row_that_no_message_explains_is_one_too_many() -> None:
    found = as_it_should()
    found.strangers = 1
    assert EXPECTED.verdict(found).duplicated == 1


@pytest.mark.parametrize("number", range(FILES.first, FILES.first + 3 * PER_FILE, 31))
def test_a_record_of_a_file_is_found_by_its_part(number: int) -> None:
    readings = Readings(3, READINGS.start, FILES)
    first = number - (number - FILES.first) % PER_FILE
    of_file = [readings.reading(each) for each in range(first, first + PER_FILE)]
    text_format = readings.format(number)
    if text_format is Format.PARQUET:
        buffer = io.BytesIO()
        rows = [(*reading.values, reading.number) for reading in of_file]
        pl.DataFrame(rows, SCHEMA, orient="row").write_ipc(buffer)
        messages = [buffer.getvalue()]
    else:
        messages = [b"header", b"\n".join(reading.payload for reading in of_file) + b"\n"]
    records = Records(messages, json.dumps({"format": "parquet" if len(messages) == 1 else "csv"}))
    assert records.payload(len(messages) - 1, number - first) == readings.reading(number).payload
    assert records.payload(len(messages) - 1, PER_FILE + 1) == b""
