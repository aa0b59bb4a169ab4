"""Parquet files that cannot be read as rows: each part is still there, as the bytes of the file."""

import io
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.extract.cuts import Part, Survey
from tasks.extract.file_parts import halved, parts
from tests.fixtures.parquet import with_a_corrupt_group
from tests.fixtures.surveys import MAX_PART, surveyed

FRAME = pl.DataFrame({"n": range(900), "text": [f"t{n}" for n in range(900)]})


def read(path: Path) -> tuple[Survey, list[Part]]:
    found = surveyed(path, max_bytes=1_000, max_rows=128)
    return found, list(parts(found, found.cuts, MAX_PART))


def payload(part: Part) -> bytes:
    content: bytes = part.messages["payload"][-1]
    return content


def test_a_corrupt_row_group_is_given_as_its_bytes_and_the_others_as_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    FRAME.write_parquet(path, row_group_size=300)
    first, end = with_a_corrupt_group(path, 1)
    found, read_parts = read(path)
    assert [part.cut for part in read_parts] == list(found.cuts)
    bad = [part for part in read_parts if part.cut.group == 1]
    assert len(bad) == 3
    assert b"".join(map(payload, bad)) == path.read_bytes()[first:end]
    assert all(payload(part) for part in bad)
    good = [pl.read_ipc(io.BytesIO(payload(part))) for part in read_parts if part.cut.group != 1]
    assert pl.concat(good).equals(pl.concat([FRAME[:300], FRAME[600:]]))
    assert [part.messages["location"][0] for part in bad] == [
        "x.parquet:301",
        "x.parquet:429",
        "x.parquet:557",
    ]
    assert all(halved(found, part) is None for part in bad)
    again = list(parts(found, [bad[1].cut], MAX_PART))  # after a crash
    assert [payload(part) for part in again] == [payload(bad[1])]


def test_a_type_that_cannot_be_read_is_given_as_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"n": pa.array([Decimal(10) ** 60], pa.decimal256(70, 2))}), path)
    _, (part,) = read(path)
    assert payload(part)
    assert payload(part) in path.read_bytes()
