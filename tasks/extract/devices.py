"""The device register's file: CSV with a header, or JSON lines; read and checked as a whole.

`device_id` is required; `name`, `model` and `site` may be missing or empty, which are nulls.
"""

import csv
from pathlib import Path

import polars as pl

from lineage.errors import RejectedError

COLUMNS = ("device_id", "name", "model", "site")
LONGEST = 256  # characters, as the readings' contract takes
_NAMED = 5  # how many culprits a sentence names


def read_devices_file(path: Path) -> pl.DataFrame:
    """Devices (COLUMNS, all String, n), each once; raises RejectedError saying what to mend, and where."""
    frame = _read(path)
    unknown = [name for name in frame.columns if name not in COLUMNS]
    if unknown:
        raise RejectedError(f"{path.name}: unknown column {unknown[0]!r}; there are {', '.join(COLUMNS)}")
    if "device_id" not in frame.columns:
        raise RejectedError(
            f"{path.name} has no column device_id: name it in the first line, or in each object"
        )
    for name, dtype in frame.schema.items():
        if dtype not in (pl.String, pl.Null):
            raise RejectedError(f"{path.name}: {name} must be text and is {dtype}: put it in quotes")
    absent = [pl.lit(None).alias(name) for name in COLUMNS if name not in frame.columns]
    texts = frame.with_columns(absent).select(pl.col(name).cast(pl.String) for name in COLUMNS)
    devices = texts.select(pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in COLUMNS)
    _check(path, devices)
    return devices


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
            return pl.read_ndjson(path, infer_schema_length=None)
        if path.suffix.lower() == ".csv":
            _check_cells(path)
            return pl.read_csv(path, infer_schema=False)
    except OSError as error:
        raise RejectedError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, csv.Error, pl.exceptions.PolarsError) as error:
        reason = str(error).partition("\n")[0]
        raise RejectedError(f"{path} cannot be read: {reason}") from error
    raise RejectedError(f"{path.name} must end in .csv, or in .jsonl for JSON lines")


def _check_cells(path: Path) -> None:
    """Polars fills a line that is too short with nulls, which would empty what the register says."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        wanted = len(next(lines, []))
        for cells in lines:
            if cells and len(cells) != wanted:
                raise RejectedError(
                    f"{path.name}: line {lines.line_num} has {len(cells)} cells and the header {wanted}: "
                    "write a comma for each empty cell"
                )


def _check(path: Path, devices: pl.DataFrame) -> None:
    rows = devices.with_row_index("row", offset=1)
    missing = rows.filter(pl.col("device_id").is_null())["row"].to_list()
    if missing:
        raise RejectedError(f"{path.name}: device_id is missing in record {_some(missing)}")
    unfit = pl.any_horizontal(
        pl.col(COLUMNS).str.contains("\x00", literal=True), pl.col("device_id").str.len_chars() > LONGEST
    )
    bad = rows.filter(unfit.fill_null(False))["row"].to_list()
    if bad:
        raise RejectedError(
            f"{path.name}: record {_some(bad)} holds a NUL character or a device_id over {LONGEST} characters"
        )
    twice = rows.filter(pl.col("device_id").is_duplicated())["device_id"].unique(maintain_order=True)
    if twice.len():
        raise RejectedError(f"{path.name} names a device more than once: {_some(twice.to_list())}")


def _some(culprits: list[object]) -> str:
    named = ", ".join(str(culprit) for culprit in culprits[:_NAMED])
    return named if len(culprits) <= _NAMED else f"{named} and {len(culprits) - _NAMED} more"
