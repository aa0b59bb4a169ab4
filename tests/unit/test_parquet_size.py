"""Parquet files of a few bytes that stand for more than fits anywhere: told in time, kept as bytes."""

import io
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.extract.cuts import Part, Survey
from tasks.extract.file_parts import parts
from tests.fixtures.surveys import surveyed

KIB = 1 << 10
ROWS = 1_000_000


def payloads(found: Survey, max_part: int) -> list[Part]:
    return list(parts(found, found.cuts, max_part))


def test_equal_numbers_count_as_often_as_they_stand_for(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"n": pa.array([7] * ROWS, pa.int64())}), path)
    assert path.stat().st_size < 8 * KIB
    found = surveyed(path, max_bytes=KIB, max_rows=ROWS, max_file=8 * ROWS - 1)
    assert "taken: set max_file_bytes" in found.refused
    every = payloads(found, 1 << 30)
    assert b"".join(part.messages["payload"][0] for part in every) == path.read_bytes()
    assert all(part.refused == found.refused for part in every)
    assert not surveyed(path, max_bytes=KIB, max_rows=ROWS, max_file=8 * ROWS).refused


def test_a_part_has_so_many_rows_as_it_may_have_bytes(tmp_path: Path) -> None:
    path = tmp_path / "wide.parquet"
    pq.write_table(pa.table({"n": pa.array([7] * ROWS, pa.int64())}), path)
    found = surveyed(path, max_bytes=KIB, max_rows=ROWS, max_part=ROWS)
    assert len(found.cuts) == 8
    frames = [pl.read_ipc(io.BytesIO(part.messages["payload"][0])) for part in payloads(found, ROWS)]
    assert sum(frame.height for frame in frames) == ROWS


def test_one_text_meant_many_times_is_in_memory_once_and_its_rows_are_kept_as_bytes(tmp_path: Path) -> None:
    """100 GB: as many rows as a part has, each a text of 1 MiB."""
    path = tmp_path / "bomb.parquet"
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * KIB * KIB]))
    small = pa.DictionaryArray.from_arrays(pa.array([0] * 10, pa.int32()), pa.array(["a"]))
    with pq.ParquetWriter(
        path, pa.schema({"t": texts.type}), compression="zstd", store_schema=False
    ) as writer:
        writer.write_table(pa.table({"t": texts}))
        writer.write_table(pa.table({"t": small}))
    assert path.stat().st_size < 8 * KIB
    found = surveyed(path, max_bytes=KIB, max_rows=100_000)
    bomb, good = payloads(found, 1 << 29)
    assert "more than" in bomb.refused
    assert bomb.messages["payload"][0] in path.read_bytes()
    assert not good.refused
    assert pl.read_ipc(io.BytesIO(good.messages["payload"][0]))["t"].to_list() == ["a"] * 10
