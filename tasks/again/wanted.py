"""What a reprocess wants to stand: a pure function of what stands of a batch and of today's verdicts on it.

    standing rows + today's verdicts ─wanted─▶ rows that differ, go or come, and records that are rejected

Today's verdicts are those on the records at issue (`at_issue.py`): what waits for a replay, or was dropped,
is not among them and takes no key. So each record of a batch ends in one way: a row of it stands, another row
says the same, it is filtered, it waits among the rejected, or it was dropped. SQL carries only what
differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from tasks.again.changes import Compared, compare
from tasks.batch import Refined
from tasks.contract import Contract, OnReturn
from tasks.load.row_id import ROW
from tasks.load.standing import STANDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Of one batch. `tables`: what differs of each table's rows; the others are today's rejected records
    (REJECTED_SCHEMA, n): `heard` of those with a row that stands or that were filtered, `unheard` of those
    that only said what another record says, as far as they could be rows of a table where a key has one row
    for ever."""

    tables: Mapping[str, Compared]
    heard: pl.DataFrame
    unheard: pl.DataFrame


def wanted(
    contracts: Mapping[str, Contract],
    standing: Mapping[str, pl.DataFrame],
    today: Refined,
    filtered: pl.DataFrame,
) -> Wanted:
    """`standing`: table → its rows of the batch (`standing_schema`, n); `today` as it would be stored.

    `filtered` (ROW, m): the places of records that were filtered, and are not today.
    """
    tables = {
        table: compare(rows, today.accepted[table], contracts[table]) for table, rows in standing.items()
    }
    places = pl.concat([rows.select(*ROW, STANDS) for rows in standing.values()])
    heard = _among(today.rejected, pl.concat([places.filter(STANDS).select(ROW), filtered]))
    known = pl.concat([heard.select(ROW), _among(today.rejected, places.filter(~pl.col(STANDS))).select(ROW)])
    once = [table for table, contract in contracts.items() if contract.on_return is OnReturn.APPEND]
    unheard = today.rejected.join(known, on=ROW, how="anti", nulls_equal=True, maintain_order="left")
    return Wanted(tables=tables, heard=heard, unheard=unheard.filter(pl.col("table").is_in(once)))


def _among(rejected: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Today's rejections of these places (ROW, n); one without a part speaks for its whole message."""
    own = rejected.join(places, on=ROW, how="semi", nulls_equal=True)
    whole = rejected.filter(pl.col("part").is_null()).join(places, on="sequence", how="semi")
    return pl.concat([own, whole]).unique(ROW, maintain_order=True)
