"""What a pipeline says of the format of its files: what is refused, and where records begin."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.batch import Format, Layout, layout_of
from tasks.extract.file_parts import parts
from tasks.extract.files import FileOptions
from tasks.extract.folder import Wanted, look
from tasks.extract.formats.csv import CsvFormat
from tasks.extract.formats.kinds import ENDINGS
from tasks.extract.lines import Opening
from tasks.layout import MAX_RECORD
from tests.fixtures import catalogs
from tests.fixtures.catalogs import copied, why_not, written
from tests.fixtures.surveys import MAX_PART, surveyed

POWER = """
doc: Meters.
owner: facilities
source:
  type: files
  folder: power
  pattern: "*.txt"
  SAID
table:
  name: power
  key: [meter, at]
  time: at
  columns:
    meter: {type: text}
    at: {type: timestamp, from: sent.at}
    watts: {type: float, required: true}
    note: {type: text}
"""
NAMED = "format: {type: csv, names: [meter, sent.at, watts, note, raw]}"


def directory(home: Path, said: str) -> Path:
    written(home / "power" / "pipeline.yaml", POWER.replace("SAID", said))
    return home


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            "format: {type: csv, names: [meter, at, meter]}",
            "names: meter comes twice: give each column a name",
        ),
        ("format: {type: csv, names: []}", "names: Tuple should have at least 1 item"),
        ("format: {type: csv, skip: -1}", "skip: Input should be greater than or equal to 0"),
        ("format: {type: csv, delimiter: ';;'}", "delimiter: String should have at most 1 character"),
        ("format: {type: csv, delimiter: '\"'}", "delimiter: no quote, no end of a line"),
        ("format: {type: csv, delimiter: '§'}", "delimiter: no quote, no end of a line"),
        ("format: {type: csv, nmes: [meter]}", "nmes: Extra inputs are not permitted, did you mean names?"),
        ("format: {type: cvs}", "found using 'type' does not match any of the expected tags"),
        ("format: {type: ndjson, skip: 1}", "skip: Extra inputs are not permitted"),
        ("format: {type: parquet}\n  follow: true", "a Parquet file does not grow"),
        ('delimiter: ";"', "`delimiter` is the format's: write format: {type: csv, delimiter: ';'}"),
    ],
)
def test_what_no_format_has_is_refused_with_its_line(tmp_path: Path, said: str, why: str) -> None:
    found = why_not(directory(tmp_path, said))
    assert why in found
    assert re.match(r"line \d+, column \d+: ", found)


@pytest.mark.parametrize(
    ("word", "instead", "why"),
    [
        ("sent.at", "sent.ad", "at is read from sent.at, and names has no sent.at: did you mean sent.ad?"),
        ("watts", "power", "watts is read from watts, and names has no watts: it has power, raw."),
        ("note", "notes", "note is read from note, and names has no note: did you mean notes?"),
        ("note, ", "", "note is read from note, and names has no note: it has raw."),
        ("sent.at", "sent.at, at", "sent.at and at in names are both at: rename one of them."),
    ],
)
def test_a_column_that_names_does_not_have_is_refused_with_the_nearest(
    tmp_path: Path, word: str, instead: str, why: str
) -> None:
    assert why_not(directory(tmp_path, NAMED.replace(word, instead))) == f"power: {why}"


def test_columns_of_a_file_are_among_its_names(tmp_path: Path) -> None:
    given = NAMED.replace("watts", "Leistung")
    assert catalogs.read(directory(tmp_path, f"{given}\n  columns: {{Leistung: watts}}"))
    assert why_not(directory(tmp_path, f"{given}\n  columns: {{Leistng: watts}}")) == (
        "columns says that Leistng is watts, and names has no Leistng: did you mean Leistung?"
    )


def test_of_a_table_of_several_pipelines_what_may_be_null_may_be_absent(tmp_path: Path) -> None:
    path = copied(tmp_path) / "sensors" / "sensors-files.yaml"
    text = path.read_text()

    def said(*names: str) -> Path:
        said = f"source:\n  format: {{type: csv, names: [{', '.join(names)}]}}"
        written(path, text.replace("source:", said, 1))
        return tmp_path / "pipelines"

    assert catalogs.read(said("device_id", "timestamp", "pressure"))
    assert why_not(said("device_id", "pressure")).startswith("sensor_readings: timestamp is read from ")
    near = why_not(said("device_id", "timestamp", "Temperature"))
    assert near.endswith("names has no temperature: did you mean Temperature?")


def test_only_what_is_said_of_a_format_is_in_the_version(tmp_path: Path) -> None:
    def version(said: str) -> str:
        return catalogs.read(directory(tmp_path, said)).pipeline("power").transformation().version

    unset, named = version(""), version(NAMED)
    assert unset == version("settle: PT2S") != named
    assert named == version(NAMED.replace("csv", 'csv, delimiter: ",", skip: 0'))
    others = {version(NAMED.replace("csv", said)) for said in ("csv, skip: 1", 'csv, delimiter: ";"')}
    assert len({unset, named, *others}) == 4
    for each in catalogs.SHIPPED.pipelines.values():
        assert "format" not in each._said()


def test_a_layout_that_was_stored_before_reads_as_it_did() -> None:
    stored = '{"format": "csv", "delimiter": ";", "columns": {"a": "b"}, "line_end": "\\n", "refused": ""}'
    before = layout_of(stored)
    assert before == Layout(format=Format.CSV, delimiter=";", columns={"a": "b"})
    assert before.lines_before == 1
    assert layout_of(Layout(format=Format.CSV, names=("a", "b"), skip=2).text()) == Layout(
        format=Format.CSV, names=("a", "b"), skip=2
    )


def test_a_stored_part_is_read_by_the_format_of_today_where_records_begin_at_the_same_line() -> None:
    headed = Layout(format=Format.CSV, line_end="\r", columns={"x": "y"})
    named = CsvFormat(type="csv", delimiter=";", skip=1, names=("a",))
    source = FileOptions(folder="x", pattern="*", format=named, columns={"a": "z"})
    assert source.read_again(headed) == Layout(
        format=Format.CSV, delimiter=";", line_end="\r", columns={"x": "y", "a": "z"}, skip=1, names=("a",)
    )
    without_header = Layout(format=Format.CSV, names=("b",))  # its first line is a record
    assert source.read_again(without_header).names == ("b",)
    assert source.read_again(Layout(format=Format.NDJSON)).format is Format.NDJSON
    unset = FileOptions(folder="x", pattern="*")
    assert unset.read_again(Layout(format=Format.CSV, delimiter=";")).delimiter == ";"


def test_with_a_format_files_of_any_ending_are_taken(tmp_path: Path) -> None:
    for name in ("a.txt", "b.TXT", "c.csv", "d"):
        (tmp_path / name).write_text("x")
    named = FileOptions(folder="x", pattern="*.txt", format=CsvFormat(type="csv"))
    whys = {entry.name: entry.why for entry in look(tmp_path, named.wanted)}
    assert [name for name, why in sorted(whys.items()) if not why] == ["a.txt", "b.TXT"]
    assert whys["d"] == "its name does not fit *.txt"
    unset = {entry.name: entry.why for entry in look(tmp_path, Wanted("*", tuple(ENDINGS)))}
    assert unset["a.txt"] == "its name ends in none of .csv, .ndjson, .jsonl, .parquet"
    assert unset["c.csv"] == ""


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValidationError):
        FileOptions.model_validate({"folder": "x", "pattern": "*", "format": "csv"})


@pytest.mark.parametrize(
    ("said", "head", "expected"),
    [
        ({}, b"a,b\n1,2\n", (4, b"\n")),
        ({}, b'"a\nb",c\r\n1', (9, b"\n")),
        ({"skip": 1}, b'it"s\n"a\nb"\n1', (11, b"\n")),  # a quote in what is skipped quotes nothing
        ({"skip": 1}, b"x\na\rb\n1", (6, b"\n")),
        ({"skip": 2}, b"x\r\n\r\na\r\n1", (8, b"\n")),
        ({"skip": 1}, b"x\ra\r1", (4, b"\r")),
        ({"names": ["a"]}, b"1\n", (0, b"\n")),
        ({"names": ["a"]}, b'"1\n2"\r3', (0, b"\r")),
        ({"names": ["a"], "skip": 2}, b"x\ny\n1\n", (4, b"\n")),
        ({"skip": 2}, b"x\ny\n", None),
        ({"names": ["a"], "skip": 2}, b"x\ny", None),
        ({"names": ["a"]}, b"1", None),
        ({"names": ["a"]}, b"1\r", None),  # a line feed may follow
        ({}, b"a", None),
    ],
)
def test_where_records_begin(
    said: dict[str, object], head: bytes, expected: tuple[int, bytes] | None
) -> None:
    text_format = CsvFormat.model_validate({"type": "csv", **said})
    found = text_format.opening(head, ended=False)
    assert (found and (found.length, found.line_end)) == expected
    at_the_end = text_format.opening(head, ended=True)
    assert at_the_end is not None
    if expected:
        assert at_the_end == found
    elif not text_format.names or text_format.skip:
        assert at_the_end.length == len(head)  # all that there is stands before the records


@pytest.mark.parametrize("skip", [0, 1])
def test_a_header_whose_quote_was_left_open_is_a_line(skip: int) -> None:
    """Else all that comes would be header, and no record."""
    said, head = CsvFormat(type="csv", skip=skip), b"x\n" * skip + b'a,"b\n1,2\n'
    assert said.opening(head, ended=False) is None
    assert said.opening(head, ended=True) == Opening(2 * skip + 5, b"\n")
    assert said.opening(head + b"1,2\n" * 300_000, ended=False) == Opening(2 * skip + 5, b"\n")


@pytest.mark.parametrize(("skip", "lines"), [(1, "line is"), (2, "2 lines are")])
def test_lines_that_are_too_long_to_be_kept_with_each_part_are_rejected(
    tmp_path: Path, skip: int, lines: str
) -> None:
    path, content = tmp_path / "x.txt", b"x" * MAX_RECORD + b"\n" * skip + b"1\n"
    path.write_bytes(content)
    found = surveyed(path, max_bytes=1_000_000, said=CsvFormat(type="csv", skip=skip, names=("a",)))
    assert found.refused == f"its first {lines} longer than 1 MB: that is no header"
    assert b"".join(part.messages["payload"][0] for part in parts(found, found.cuts, MAX_PART)) == content


@settings(deadline=None)
@given(st.binary(max_size=30), st.integers(0, 4), st.booleans())
def test_no_bytes_fail_it_and_more_bytes_change_nothing(head: bytes, skip: int, named: bool) -> None:
    text_format = CsvFormat(type="csv", skip=skip, **({"names": ("a",)} if named else {}))
    whole = text_format.opening(head, ended=True)
    assert whole is not None
    assert 0 <= whole.length <= len(head)
    for end in range(len(head)):
        assert text_format.opening(head[:end], ended=False) in (None, whole)


def test_a_layout_is_stored_as_json() -> None:
    assert json.loads(CsvFormat(type="csv", names=("a",)).layout().text())["names"] == ["a"]
