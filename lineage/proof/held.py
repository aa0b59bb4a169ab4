"""What stored tables hold of each batch or bucket, read from Postgres now and held against what was recorded.

    counts ─▶ those with as many rows as recorded ─▶ their digest (or, of before, the sum of their row hashes)

Rows are read in portions and never kept.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, TypeAlias

from ..identifiers import column_of, listed, quoted, stored_table
from ..keys import KeyRing
from ..ports import Connection
from ..row_digest import GROUP, VERSION, Rows, feed, row_digest
from ..stored import TableShape, chunks
from .row_sums import RowSums

PORTION = 100_000
"""Rows that Postgres sorts at a time for their digests."""

Output: TypeAlias = Mapping[str, Any]
"""A row of `store.ledger_outputs`."""
Group: TypeAlias = Any
"""A batch, or of a derived table the start of a bucket and the batch that made it."""
Relation: TypeAlias = Callable[[TableShape, Sequence[str], Sequence[Group]], tuple[str, list[Any]]]
"""Of a table's rows: (shape, columns, groups) → SQL with these columns and GROUP, its parameters."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is stored: the number of rows and, where they are as many as recorded, what is wrong with them."""

    rows: int
    difference: str = ""


async def by_batch(
    connection: Connection,
    shape: TableShape,
    first: int,
    end: int,
    recorded: Mapping[int, Output],
    keys: KeyRing,
) -> dict[int, Held]:
    """What is stored of each batch in first ≤ batch < end; `recorded`: batch → what it says of this table."""
    within = "WHERE batch >= $1 AND batch < $2"
    each = " UNION ALL ".join(f"SELECT batch FROM {stored_table(table)} {within}" for table in shape.tables)
    query = f"SELECT batch, count(*) AS rows FROM ({each}) stored GROUP BY batch"
    counts = {row["batch"]: row["rows"] for row in await connection.fetch(query, first, end)}
    return await _Reading(connection, shape, recorded, keys, _of_batches).held(counts)


async def by_bucket(
    connection: Connection,
    shape: TableShape,
    recorded: Mapping[tuple[datetime, int], Output],
    keys: KeyRing,
    *,
    whole: bool,
) -> dict[tuple[datetime, int], Held]:
    """What is stored of each bucket by the batch that wrote it: of the recorded ones, or of all (`whole`)."""
    starts, time = [start for start, _ in recorded], quoted(shape.time_column)
    args = [] if whole else [min(starts), shape.bucket.end(max(starts)), starts]
    bucket = shape.bucket.start_sql(time)
    within = f"{time} >= $1 AND {time} < $2 AND {bucket} = ANY($3::timestamptz[])"
    query = (
        f"SELECT {bucket} AS bucket, batch, count(*) AS rows FROM {stored_table(shape.name)} "
        f"WHERE {'true' if whole else within} GROUP BY 1, 2"
    )
    counts = {(row["bucket"], row["batch"]): row["rows"] for row in await connection.fetch(query, *args)}
    return await _Reading(connection, shape, recorded, keys, _of_buckets).held(counts)


@dataclass(frozen=True, slots=True)
class _Reading:
    """The rows of one table, in groups that are batches or buckets."""

    connection: Connection
    shape: TableShape
    recorded: Mapping[Group, Output]
    keys: KeyRing
    relation: Relation

    async def held(self, counts: Mapping[Group, int]) -> dict[Group, Held]:
        """Groups that are not recorded, or with another number of rows, are counted and not read."""
        empty = {group: 0 for group, output in self.recorded.items() if not output["rows"]}
        rows = empty | dict(counts)
        alike = [group for group in rows if group in self.recorded and rows[group] == self._rows(group)]
        wrong = {group: why for group in alike if (why := self._cannot_be_made(group))}
        in_order = sorted(
            (group for group in alike if group not in wrong), key=lambda g: (self._covered(g), g)
        )
        for columns, groups in groupby(in_order, self._covered):
            for portion in self._portions(groups):
                unlike = await (self._unlike_digest(portion) if columns else self._unlike_sum(portion))
                wrong |= {
                    group: f"the values of its {rows[group]} row(s) are not those recorded"
                    for group in unlike
                }
        return {group: Held(number, wrong.get(group, "")) for group, number in rows.items()}

    def _rows(self, group: Group) -> int:
        number: int = self.recorded[group]["rows"]
        return number

    def _covered(self, group: Group) -> str:
        """The name of the columns that a digest covers; empty: it is a sum."""
        return self.recorded[group]["columns"] or ""

    def _portions(self, groups: Iterable[Group]) -> Iterator[list[Group]]:
        """The groups in order, as many at a time as PORTION allows, at least one."""
        portion: list[Group] = []
        rows = 0
        for group in groups:
            if portion and rows + self._rows(group) > PORTION:
                yield portion
                portion, rows = [], 0
            portion.append(group)
            rows += self._rows(group)
        if portion:
            yield portion

    def _cannot_be_made(self, group: Group) -> str:
        """Why a recorded digest cannot be made again here; empty where it can."""
        output = self.recorded[group]
        if output["digest"] is None:
            return ""
        if output["digest_version"] != VERSION:
            return f"its digest is of version {output['digest_version']}, which this code does not know"
        if output["columns"] not in self.shape.digested:
            return "its digest covers the columns of a contract that store.contracts does not have"
        if not self.keys.holds(output["digest_key"]):
            return f"its digest needs the key {output['digest_key']}, which HEADWATER_KEY_FILE does not hold"
        return ""

    async def _unlike_digest(self, groups: Sequence[Group]) -> list[Group]:
        """The groups, whose digests cover the same columns, whose digest is not the recorded one."""
        outputs = {group: self.recorded[group] for group in groups}
        covered = self.shape.digested[outputs[groups[0]]["columns"]]
        columns = covered.columns
        later = [name for name in self.shape.every_column if name not in columns]
        digests = {
            group: row_digest(
                self.keys.named(output["digest_key"]), self.shape.name, covered.names, output["bucket"]
            )
            for group, output in outputs.items()
        }
        sql, args = self.relation(self.shape, [*columns, *later], groups)
        key = {name: columns[name] for name in self.shape.key}
        beyond = await feed(self.connection, Rows(sql, args, columns, key, later), digests)
        return [g for g, made in digests.items() if g in beyond or made.digest() != outputs[g]["digest"]]

    async def _unlike_sum(self, groups: Sequence[Group]) -> list[Group]:
        """The groups whose sum of row hashes is not the recorded one under any version of the columns."""
        sums = RowSums(self.shape)
        sql, args = self.relation(self.shape, list(self.shape.every_column), groups)
        async for rows in chunks(self.connection, sql, *args):
            sums.add([row[GROUP] for row in rows], rows)
        held = sums.held()
        return [group for group in groups if self.recorded[group]["values_sum"] not in held.get(group, (0,))]


def _of_batches(shape: TableShape, columns: Sequence[str], batches: Sequence[int]) -> tuple[str, list[Any]]:
    within = "batch = ANY($1::bigint[]) AND batch >= $2 AND batch <= $3"  # a range is what BRIN answers
    selected = f"SELECT batch AS {quoted(GROUP)}, {listed(columns)}"
    each = (f"{selected} FROM {stored_table(table)} WHERE {within}" for table in shape.tables)
    return " UNION ALL ".join(each), [list(batches), min(batches), max(batches)]


def _of_buckets(
    shape: TableShape, columns: Sequence[str], groups: Sequence[tuple[datetime, int]]
) -> tuple[str, list[Any]]:
    time = column_of("s", shape.time_column)
    sql = (
        f"SELECT (w.start, w.batch) AS {quoted(GROUP)}, {listed(columns, 's')} "
        'FROM unnest($1::timestamptz[], $2::bigint[], $3::timestamptz[]) AS w(start, batch, "end") '
        f'JOIN {stored_table(shape.name)} s ON s.batch = w.batch AND {time} >= w.start AND {time} < w."end"'
    )
    starts = [start for start, _ in groups]
    return sql, [starts, [batch for _, batch in groups], list(map(shape.bucket.end, starts))]
