"""Rejected records against the ledger: how many each batch rejected, and what it and replays said of them."""

from collections import Counter
from collections.abc import AsyncIterator

import polars as pl

from .. import query_files
from ..keys import KeyRing
from ..ports import Connection
from ..rejected import MAY_PASS, Made, judged
from ..row_digest import VERSION
from ..stored import chunks
from .books import Books, Counts

_UNLIKE_REPLAYS = query_files.read(__package__, "replays_unlike.sql")
_PASSING = "SELECT batch, rules, may_pass AS said FROM store.rejected WHERE batch >= $1 AND batch < $2"
_PASSING_SCHEMA = {"batch": pl.Int64(), "rules": pl.List(pl.String()), "said": pl.Boolean()}


async def check_rejected(
    connection: Connection, books: Books, first: int, end: int, counts: Counts, keys: KeyRing
) -> AsyncIterator[str]:
    """The verdicts of each batch; a record that is resolved still counts, and so does one rejected again."""

    def made(batch: int) -> Made:
        row = books.ledger.get(batch)
        return (row["digest_version"], row["digest_key"]) if row else (VERSION, None)

    said = await judged(connection, first, end, made, keys)
    counts.rejected += await connection.fetchval(
        "SELECT count(*) FROM store.rejected WHERE batch >= $1 AND batch < $2", first, end
    )
    for number in sorted(said.sums.keys() | books.ledger.keys()):
        rows, total = said.rows[number], said.sums.get(number, 0)
        if number not in books.ledger:
            yield f"rejected: {rows} record(s) of batch {number}, which is not in the ledger"
        elif rows != books.ledger[number]["rejected"]:
            yield f"rejected, batch {number}: {books.ledger[number]['rejected']} recorded, {rows} stored"
        elif number in said.lacking:
            yield f"rejected, batch {number}: {said.lacking[number]}"
        elif total != books.ledger[number]["rejected_sum"]:
            yield f"rejected, batch {number}: what is said of its {rows} record(s) is not what was recorded"
    for row in await connection.fetch(_UNLIKE_REPLAYS, first, end):
        yield (
            f"rejected, batch {row['batch']}: {row['records']} record(s) with other attempts or another end "
            "than their replays say"
        )
    for number, unlike in sorted((await _unlike_rules(connection, first, end)).items()):
        yield f"rejected, batch {number}: {unlike} record(s) whose may_pass is not what their rules say"


async def _unlike_rules(connection: Connection, first: int, end: int) -> Counter[int]:
    """Batch → how many of its records may pass by their rules and not by their column, or the other way."""
    unlike: Counter[int] = Counter()
    async for rows in chunks(connection, _PASSING, first, end):
        records = pl.DataFrame([tuple(row) for row in rows], _PASSING_SCHEMA, orient="row")
        unlike.update(records.filter(pl.col("said").ne_missing(MAY_PASS))["batch"].to_list())
    return unlike
