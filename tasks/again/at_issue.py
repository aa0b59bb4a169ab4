"""Which records of a batch are judged again, and today's verdicts on them alone.

* A **replay** judges the records that wait: rejected, and neither replayed nor dropped.
* A **reprocess** judges all others but those that were dropped.

A record that is not at issue takes no key from one that is: the batch is refined without it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import polars as pl

from infra.postgres import Connection
from lineage import query_files
from tasks.again.reread import CurrentPipeline
from tasks.batch import PLACE_SCHEMA, RawBatch, Refined
from tasks.layout import without_places
from tasks.load.raw import StoredRaw
from tasks.load.rejected import identities_in
from tasks.load.row_id import ROW

Aside = Callable[[Refined], Awaitable[pl.DataFrame]]
"""Of what was refined the places (PLACE_SCHEMA, n) that are not at issue."""

_CONFLICT = "key.conflict"
# Rejected records that wait or were dropped.
_ASIDE = query_files.read(__package__, "aside.sql")
_BY_IDENTITY = f"SELECT identity FROM store.rejected r WHERE identity = ANY($1::bytea[]) AND {_ASIDE}"
_OF_BATCH = f"""
SELECT sequence, part FROM store.rejected r
WHERE (r.raw_batch = $1 OR (r.batch = $1 AND r.raw_batch IS NULL)) AND {_ASIDE}
"""


async def refine_at_issue(
    current: CurrentPipeline, batch: RawBatch, left_out: pl.DataFrame, aside: Aside
) -> Refined:
    """Today's verdicts on a batch without `left_out` (PLACE_SCHEMA, n), nor what is `aside`.

    Refined again until no record that is not at issue has a key that another one wants.
    """
    while True:
        refined = await refine_without(current, batch, left_out)
        more = without_places(await aside(refined), left_out)
        left_out = pl.concat([left_out, more])
        if more.is_empty() or not _has_rivals(refined):
            return _without(refined, left_out)


async def refine_without(current: CurrentPipeline, batch: RawBatch, left_out: pl.DataFrame) -> Refined:
    """Today's verdicts on a batch without `left_out` (PLACE_SCHEMA, n), which take no key from the others."""
    if not current.row_local or batch.layout is not None:
        known = batch.messages.with_columns(pl.col("payload").fill_null(b""))
        return await current.refine(replace(batch, messages=known, left_out=left_out), current.reference)
    every = pl.int_range(batch.messages.height, dtype=pl.Int32, eager=True)
    sequences = every.filter(~every.is_in(left_out["sequence"].implode()))
    refined = await current.refine(replace(batch, messages=batch.messages[sequences]), current.reference)

    def original(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(sequence=sequences.gather(rows["sequence"]))

    return replace(
        refined,
        accepted={table: original(rows) for table, rows in refined.accepted.items()},
        rejected=original(refined.rejected),
        filtered_rows=original(refined.filtered_rows),
    )


def _has_rivals(refined: Refined) -> bool:
    """Whether a key came more than once."""
    conflicts = refined.rejected["rules"].list.contains(_CONFLICT)
    return bool(refined.duplicates or refined.superseded or conflicts.any())


def _without(refined: Refined, left_out: pl.DataFrame) -> Refined:
    accepted = {table: without_places(rows, left_out) for table, rows in refined.accepted.items()}
    rejected = without_places(refined.rejected, left_out)
    filtered = without_places(refined.filtered_rows, left_out)
    told = refined.superseded + filtered.height
    read = sum(rows.height for rows in accepted.values()) + rejected.height + refined.duplicates + told
    return replace(
        refined, accepted=accepted, rejected=rejected, filtered=told, filtered_rows=filtered, read=read
    )


def places_of(refined: Refined) -> pl.DataFrame:
    """Where everything refined stands (PLACE_SCHEMA, n)."""
    frames = [*refined.accepted.values(), refined.rejected, refined.filtered_rows]
    return pl.concat([rows.select(ROW) for rows in frames]).unique(maintain_order=True)


async def waiting_or_dropped(
    connection: Connection,
    raw: StoredRaw,
    reader: str | None,
    places: pl.DataFrame,
    standing: pl.DataFrame,
) -> pl.DataFrame:
    """Which of these `places`, and of the batch's own rejected records, wait or were dropped (PLACE_SCHEMA).

    A record that is delivered again has the verdict of the first delivery. `standing` (ROW, m): what stands
    is not among them, whatever is said of other messages with its bytes.
    """
    ids = identities_in(raw.batch, raw.digests, places, reader)
    rows = await connection.fetch(_BY_IDENTITY, ids.to_list())
    found = pl.Series([row["identity"] for row in rows], dtype=pl.Binary)
    own = await connection.fetch(_OF_BATCH, raw.number)
    of_batch = pl.DataFrame([tuple(row) for row in own], schema=PLACE_SCHEMA, orient="row")
    aside = pl.concat([places.filter(ids.is_in(found.implode())), of_batch]).unique()
    whole = pl.col("part").is_null() & pl.col("sequence").is_in(standing["sequence"].implode())
    return without_places(aside.filter(~whole), standing)
