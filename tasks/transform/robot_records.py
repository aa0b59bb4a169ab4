"""A robot's answers as records of a table: each is read as the JSON message that it is within its page.

    answers ─robot_pages─▶ runs, commands ─read─▶ cells ─▶ the rules of every record (`judge.py`)

One thing is of the robot alone: a server writes `0` in a run that is current and `0.0` in the same run once
it is history. So in JSON that is kept, a whole number is written as an integer (`tasks/canonical.py`).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from tasks.batch import PLACE_SCHEMA
from tasks.canonical import canonical_json
from tasks.contract import ColumnType, Contract
from tasks.decode import cells
from tasks.decode.messages import Decoded, by_record, complete
from tasks.layout import without_places
from tasks.transform.robot_pages import Found

SENTENCES: Final = {"payload.json": "it is not JSON that every reader takes"}
_FRACTION: Final = re.compile(r"[0-9](?:\.|e)")
"""What may be a number with a fraction or an exponent, which is written in more than one way."""


@dataclass(frozen=True, slots=True)
class RobotRecords:
    """Records of one table: what decoding gave of them, and where each stands (PLACE_SCHEMA, n)."""

    found: Decoded
    places: pl.DataFrame

    def in_answer(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of records by their number, with the `sequence` of the answer that holds them and `part`."""
        at = self.places[rows[cells.SEQUENCE]]
        return rows.with_columns(at["part"], at["sequence"])

    def without(self, rows: pl.DataFrame, left_out: pl.DataFrame | None) -> pl.DataFrame:
        """Rows of records by their number (n), but those at places of `left_out` (PLACE_SCHEMA)."""
        if left_out is None or rows.is_empty():
            return rows
        numbered = self.places.with_row_index("number")
        kept = without_places(numbered, left_out)["number"]
        return rows.filter(pl.col(cells.SEQUENCE).is_in(kept.implode()))


def read(found: Sequence[Found], contract: Contract) -> RobotRecords:
    """The records of a table, in their order: a record's `sequence` is its number among them."""
    payloads = pl.DataFrame({"payload": [each.payload for each in found]}, {"payload": pl.Binary})
    numbered = payloads.with_row_index(cells.SEQUENCE).cast({cells.SEQUENCE: pl.Int32})
    read = by_record(numbered, contract)
    records = complete(read.records, contract).with_columns(
        _as_whole_as_it_is(read.records[column.name])
        for column in contract.recorded
        if cells.kind_of(column).name == ColumnType.JSON
    )
    places = [(each.sequence, each.part) for each in found]
    return RobotRecords(
        Decoded(records, read.undecodable, SENTENCES), pl.DataFrame(places, PLACE_SCHEMA, orient="row")
    )


def _as_whole_as_it_is(texts: pl.Series) -> pl.Series:
    """JSON (String, n) with whole numbers as integers."""
    return pl.Series(
        texts.name,
        [
            canonical_json(json.loads(text)) if text is not None and _FRACTION.search(text) else text
            for text in texts
        ],
        dtype=pl.String,
    )
