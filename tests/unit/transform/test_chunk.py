"""Parts of files to cells: each record alone, the same whichever way reads it, however the file is cut."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.batch import MESSAGE_SCHEMA, Format, Layout, RawBatch, Reference
from tasks.decode.chunk import decode_batch
from tasks.decode.messages import Decoder
from tasks.decode.tabular import decode_rows
from tasks.extract.file_parts import parts
from tasks.extract.formats.csv import CsvFormat
from tasks.layout import exact, records_in, whole
from tasks.transform.transforms import Parameters, transform
from tests.fixtures.catalogs import contract as contract_of
from tests.fixtures.catalogs import pipeline
from tests.fixtures.surveys import MAX_PART, surveyed

CONTRACT = contract_of("sensor_readings")
NOW = datetime(2026, 11, 21, tzinfo=UTC)
NAMES = ["device_id", "timestamp", "temperature", "location.latitude"]
PLAIN = Layout(format=Format.CSV)
HEADER = ",".join(NAMES).encode() + b"\n"


def a_part(chunk: bytes, layout: Layout | None = None, header: bytes = HEADER) -> RawBatch:
    rows = [("x.csv:1", header), ("x.csv:2", chunk)]
    frame = pl.DataFrame(rows, MESSAGE_SCHEMA, orient="row")
    layout = layout or Layout(format=Format.CSV)
    return RawBatch(dataset="file:x", messages=frame, received_at=NOW, received_until=NOW, layout=layout)


@pytest.mark.parametrize(
    "header", [b"device_id;timestamp;temperature\n", b"foo,bar\n", b"\n", b"\r\n", b"\xef\xbb\xbf\n", b",,\n"]
)
def test_under_a_header_that_names_no_column_of_ours_a_part_is_rejected_as_one(header: bytes) -> None:
    """One that has a record as its header says, and one that has not."""
    fitting = header.lstrip(b"\xef\xbb\xbf").replace(b"device_id", b"d") or b"x\n"
    batch = a_part(fitting.replace(b"\n", b"x\n") + b"1,2,3,4\n", header=header)
    contract = {CONTRACT.table: CONTRACT}
    refined = transform("readings").bind(
        contract, Parameters(source_name="files", steps=pipeline("sensors-files").steps)
    )(batch, Reference(frames={}))
    assert (refined.read, refined.rejected.height) == (1, 1)
    assert refined.rejected.row(0, named=True)["rules"] == ["header.none"]
    assert refined.rejected.row(0)[:2] == (1, None)


def cells_of(chunk: bytes) -> dict[int, dict[str, object]]:
    """Sequence → what is known of the record, nulls left out."""
    decoded = decode_batch(a_part(chunk), Decoder(CONTRACT))
    found = [*decoded.records.iter_rows(named=True), *decoded.undecodable.iter_rows(named=True)]
    return {row["sequence"]: {name: v for name, v in row.items() if v is not None} for row in found}


NUMBERS = st.text("0123456789+-.eE infaN_", max_size=6) | st.floats().map(repr)
TEXTS = st.text(st.characters(exclude_characters="\x00\r", codec="utf-8"), max_size=4)
RECORDS = st.lists(st.tuples(TEXTS, TEXTS, NUMBERS, NUMBERS), min_size=1, max_size=6)


@settings(deadline=None)
@given(RECORDS)
def test_what_is_written_as_csv_is_read_as_each_record_alone(records: list[tuple[str, ...]]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(records)
    together = cells_of(out.getvalue().encode())
    assert len(together) == len(records)
    for number, record in enumerate(records):
        alone = io.StringIO()
        csv.writer(alone, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(record)  # the careful way
        (cells,) = cells_of(alone.getvalue().encode()).values()
        assert together[number] == cells | {"sequence": number}
        assert cells.get("device_id", "") == record[0]


@settings(deadline=None)
@given(st.lists(st.text('ab,"\n', max_size=8), max_size=8), st.integers(1, 40))
def test_however_a_file_is_cut_its_records_are_the_same(pieces: list[str], size: int) -> None:
    content = "\n".join(pieces).encode()
    expected = list(records_in(content, PLAIN).payloads)
    found: list[bytes] = []
    rest, wanted = content, size
    while rest:
        window = rest[:wanted]
        taken = len(rest) if wanted >= len(rest) else whole(window, Format.CSV)
        found += records_in(rest[:taken], PLAIN).payloads if taken else []
        rest, wanted = rest[taken:], size if taken else wanted * 2
    assert found == expected


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_no_bytes_fail_a_part_and_each_record_has_its_own(chunk: bytes) -> None:
    found = cells_of(chunk)
    records = records_in(chunk, PLAIN)
    assert sorted(found) == list(range(len(records.payloads)))
    where = exact(Layout(format=Format.CSV), "x.csv:2", chunk, list(found))
    assert [payload for _, payload in where] == [records.payloads[part] for part in found]


def test_a_column_may_have_another_name_and_unknown_ones_are_ignored() -> None:
    layout = Layout(format=Format.CSV, delimiter=";", columns={"Sensor": "device_id", "T": "temperature"})
    header = "\ufeffSensor;note;T;timestamp\r\n".encode()
    decoded = decode_batch(a_part(b"a;x;1.5;2026-01-01T00:00:00Z\r\n", layout, header), Decoder(CONTRACT))
    assert decoded.records.select("device_id", "temperature", "timestamp").row(0) == (
        "a",
        1.5,
        "2026-01-01T00:00:00Z",
    )


@pytest.mark.parametrize(
    ("values", "cell", "fault"),
    [
        (pl.Series([21], dtype=pl.Int64), 21.0, None),
        (pl.Series([21.5], dtype=pl.Float32), 21.5, None),
        (pl.Series([float("nan")]), None, "temperature.finite"),
        (pl.Series(["21"]), None, "temperature.type"),
        (pl.Series([True]), None, "temperature.type"),
        (pl.Series([None], dtype=pl.Float64), None, None),
    ],
)
def test_a_parquet_column_has_its_type(values: pl.Series, cell: float | None, fault: str | None) -> None:
    rows = pl.DataFrame({"device_id": ["a"], "temperature": values, "location": [{"latitude": 1.0}]})
    found = decode_rows(rows, Layout(format=Format.PARQUET), CONTRACT).records.row(0, named=True)
    assert (found["temperature"], found.get("temperature.fault")) == (cell, fault)
    assert found["latitude"] == 1.0


def test_a_parquet_time_needs_a_zone() -> None:
    rows = pl.DataFrame({"timestamp": [datetime(2026, 1, 1)]})  # noqa: DTZ001 - that is what is tested
    found = decode_rows(rows, Layout(format=Format.PARQUET), CONTRACT).records.row(0, named=True)
    assert found["timestamp.fault"] == "timestamp.zone"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text('ab,"\r\n', max_size=8), max_size=8),
    st.integers(1, 20),
    st.integers(0, 3),
    st.booleans(),
)
def test_by_whatever_format_no_byte_of_a_file_is_lost_and_each_record_has_its_line(
    pieces: list[str], max_bytes: int, skip: int, named: bool
) -> None:
    content = "\n".join(["x", *pieces]).encode()  # its lines end by a line feed
    said = CsvFormat.model_validate({"type": "csv", "skip": skip, **({"names": ["a"]} if named else {})})
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.txt"
        path.write_bytes(content)
        found = surveyed(path, max_bytes=max_bytes, said=said)
        read = list(parts(found, found.cuts, MAX_PART))
    before = {part.messages["payload"][0] if part.messages.height > 1 else b"" for part in read}
    assert len(before) <= 1
    assert b"".join([*before, *(part.messages["payload"][-1] for part in read)]) == content
    lines = content.split(b"\n")
    if named:
        assert b"".join(before) == b"".join(line + b"\n" for line in lines[:skip])[: len(content)]
    for part in read:
        location, chunk = part.messages.row(-1)
        records = records_in(chunk, said.layout())
        for where, payload in exact(said.layout(), location, chunk, range(len(records.payloads))):
            assert lines[int(where.rpartition(":")[2]) - 1] == payload.split(b"\n")[0]


def test_parts_of_a_file_are_its_bytes_in_order(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    lines = [f'd,2026-01-01T00:00:00Z,"{n}\n",\n' if n % 7 == 0 else f"d,,{n},\n" for n in range(100)]
    path.write_bytes(HEADER + "".join(lines).encode())
    found = surveyed(path, max_bytes=100)
    read = list(parts(found, found.cuts, MAX_PART))
    assert b"".join(part.messages["payload"][-1] for part in read) == path.read_bytes().removeprefix(HEADER)
    assert len(read) > 10
    content = path.read_bytes().split(b"\n")
    for part in read:
        location, chunk = part.messages.row(-1)
        assert content[int(location.rpartition(":")[2]) - 1] == chunk.split(b"\n")[0]


@pytest.mark.parametrize("longest", [50, 100, 1_000])
def test_a_part_however_large_ends_where_a_record_ends(
    longest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.extract.file_parts.LONGEST", longest)
    path = tmp_path / "x.csv"
    path.write_bytes(HEADER + "".join(f"d,,{n},\n" for n in range(100)).encode())
    found = surveyed(path, max_bytes=100)
    chunks = [part.messages["payload"][-1] for part in parts(found, found.cuts, MAX_PART)]
    assert len(chunks) > 5
    assert all(chunk.endswith(b"\n") for chunk in chunks)
    assert b"".join(chunks) == path.read_bytes().removeprefix(HEADER)


def test_what_has_no_end_of_a_record_is_cut_anyway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.extract.file_parts.LONGEST", 400)
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"x" * 1_000 + b"\n{}\n")
    found = surveyed(path, max_bytes=100)
    assert [(cut.first, cut.end) for cut in found.cuts][:2] == [(0, 400), (400, 800)]
    assert found.cuts[-1].end == 1_004


def test_parts_of_a_parquet_file_are_its_rows_in_order(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": range(1_000), "text": [f"t{n}" * 5 for n in range(1_000)]})
    frame.write_parquet(tmp_path / "x.parquet", row_group_size=300)
    found = surveyed(tmp_path / "x.parquet", max_bytes=1, max_rows=128)
    read = [
        pl.read_ipc(io.BytesIO(part.messages["payload"][-1])) for part in parts(found, found.cuts, MAX_PART)
    ]
    assert pl.concat(read).equals(frame)
    assert [cut.line for cut in found.cuts][:4] == [1, 129, 257, 301]
    (some,) = parts(found, [found.cuts[4]], MAX_PART)
    assert pl.read_ipc(io.BytesIO(some.messages["payload"][-1])).equals(frame[428:556])
