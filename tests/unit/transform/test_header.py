"""A header that nearly fits, names a column twice, or is none: never read as nulls."""

from dataclasses import replace

import pytest

from tasks.batch import Format, Layout
from tasks.decode.header import fault_of, names_of, our_names
from tasks.decode.tabular import decode_csv
from tests.fixtures.commit import CONTRACT

FIRST = "device_id,timestamp"


def judged(header: str, columns: dict[str, str] | None = None) -> tuple[str, str] | None:
    layout = Layout(format=Format.CSV, columns=columns or {})
    fault = fault_of(names_of(header.encode() + b"\r\n", ","), our_names(layout, CONTRACT))
    return fault and (fault.rule, fault.sentence)


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("Temperature", "temperature"),
        ("TEMPERATURE", "temperature"),
        (" temperature", "temperature"),
        ("temperature (°C)", "temperature"),
        ("temp", "temperature"),
        ("temprature", "temperature"),
        ("humidity_pct", "humidity"),
        ("Humidity", "humidity"),
        ("Location.Latitude", "location.latitude"),
        ("lon", "longitude"),
    ],
)
def test_a_name_that_nearly_fits_a_column_that_is_not_there_is_told(header: str, named: str) -> None:
    found = judged(f"{FIRST},{header}")
    assert found is not None
    assert found[0] == "header.near"
    assert repr(header) in found[1]
    assert repr(named) in found[1]


@pytest.mark.parametrize(
    "header",
    ["", ",note,battery", ",temperature,Temperature", ",temperature,temperature_raw", ",location", ",RECORD"],
)
def test_what_is_absent_or_unknown_or_there_besides_is_no_fault(header: str) -> None:
    assert judged(FIRST + header) is None


def test_a_name_given_by_the_pipeline_is_no_fault_and_one_that_nearly_fits_it_is() -> None:
    columns = {"T (°C)": "temperature"}
    assert judged(f"{FIRST},T (°C)", columns) is None
    assert judged(f"{FIRST},T (\ufffdC)", columns) is not None


@pytest.mark.parametrize(
    ("header", "columns"), [("temperature,temperature", {}), ("temperature,T", {"T": "temperature"})]
)
def test_a_column_named_twice_is_told(header: str, columns: dict[str, str]) -> None:
    found = judged(f"{FIRST},{header}", columns)
    assert found is not None
    assert found[0] == "header.twice"


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ('{"device_id": "a", "timestamp": "x"}', "JSON"),
        ("sep=;", "sep="),
        ("device_id;timestamp;temperature", "';'"),
        ("1,2,3", "names the columns"),
        ("x" * 200_000, "names the columns"),
    ],
)
def test_a_first_line_that_is_no_header_says_what_it_looks_like(header: str, hint: str) -> None:
    found = judged(header)
    assert found is not None
    assert found[0] == "header.none"
    assert hint in found[1]


def test_lines_that_end_by_cr_are_read_with_and_without_quotes() -> None:
    layout = Layout(format=Format.CSV, line_end="\r")
    for chunk in (b"a,1.5\rb,2\r", b'"a",1.5\r"b\rc",2\r'):
        decoded = decode_csv(b"device_id,temperature\r", chunk, layout, CONTRACT)
        assert decoded.records["temperature"].to_list() == [1.5, 2.0]
        assert decoded.undecodable.is_empty()


NAMED = Layout(format=Format.CSV, names=("device_id", "timestamp", "temperature"))


def test_names_of_the_pipeline_stand_in_place_of_a_header() -> None:
    decoded = decode_csv(b"", b"a,x,1.5\nb,y\n", NAMED, CONTRACT)
    assert decoded.records["temperature"].to_list() == [1.5]
    assert decoded.undecodable.rows() == [(1, "payload.cells", "expected 3 cells, found 2")]


def test_a_header_stands_behind_what_is_skipped_and_what_is_skipped_may_be_anything() -> None:
    layout = Layout(format=Format.CSV, skip=2)
    before = b'M\xe4rz "7\n\ndevice_id,timestamp,"temperature"\n'
    decoded = decode_csv(before, b"a,x,1.5\n", layout, CONTRACT)
    assert decoded.records["temperature"].to_list() == [1.5]
    by_names = decode_csv(b"\xff\xfe\n", b"a,x,1.5\n", replace(NAMED, skip=1), CONTRACT)
    assert by_names.records["temperature"].to_list() == [1.5]


@pytest.mark.parametrize(
    ("layout", "before", "said"),
    [
        (
            Layout(format=Format.CSV, skip=2),
            b"a\nb\n",
            "2 lines, and by `skip` its records begin after line 3, its",
        ),
        (Layout(format=Format.CSV, skip=2), b"a", "has 1 line, "),
        (replace(NAMED, skip=2), b"a\r\n", "1 line, and by `skip` its records begin after line 2: correct"),
    ],
)
def test_a_file_that_ends_before_its_records_begin_is_told(layout: Layout, before: bytes, said: str) -> None:
    decoded = decode_csv(before, b"", layout, CONTRACT)
    assert decoded.records.is_empty()
    assert decoded.undecodable.rows() == [(None, "header.skip")]
    assert said in decoded.sentences["header.skip"]


def test_a_file_of_skipped_lines_alone_has_no_records_and_no_fault() -> None:
    for before in (b"a\nb\n", b"a\nb"):
        decoded = decode_csv(before, b"", replace(NAMED, skip=2), CONTRACT)
        assert decoded.records.is_empty()
        assert decoded.undecodable.is_empty()
