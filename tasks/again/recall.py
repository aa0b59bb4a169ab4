"""What a recall is about: the rows that came from a device, an experiment, a batch, a file or a version.

Only rows that stand are recalled: one that a newer observation replaced is history already.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lineage import naming, query_files
from lineage.errors import RejectedError
from lineage.identifiers import column_of, listed, stored_table
from lineage.ports import Connection
from tasks.contract import Contract
from tasks.derived.aggregate import Aggregate
from tasks.look.made_from import shared_key
from tasks.tables.tables import in_quarantine

# The commits of a batch, a file and a version; a replay or a reprocess of a batch belongs to it.
_BATCHES = query_files.read(__package__, "batches_of_recall.sql")
# Those of these commits that left records out: no stored row leads to them.
_FILTERED = """
SELECT DISTINCT coalesce(raw_batch, batch) AS raw FROM store.ledger
WHERE batch = ANY($1::bigint[]) AND filtered > 0 ORDER BY 1
"""
_READERS = """
SELECT batch, b.dataset, l.pipeline FROM store.raw_batches b LEFT JOIN store.ledger l USING (batch)
WHERE batch = ANY($1::bigint[]) ORDER BY batch
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows: all that is given holds. `since` and `until` are of the rows' own time, [since, until).

    A row of a table without `time` is of no span.
    """

    device: str | None = None
    experiment: str | None = None
    batch: int | None = None
    file: str | None = None
    transformation: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if {self.device, self.experiment, self.batch, self.file, self.transformation} == {None}:
            raise RejectedError("Say what to recall: a device, an experiment, a batch, a file or a version.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """A table that messages feed, and who its rows are about."""

    contract: Contract
    about: tuple[str, str] | None  # kind of subject, column


@dataclass(frozen=True, slots=True)
class Condition:
    """A SQL condition over the rows `s` of one table, and its parameters."""

    contract: Contract
    sql: str
    values: Sequence[Any]

    @property
    def table(self) -> str:
        """The stored table, as SQL names it."""
        return stored_table(self.contract.table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """What of one table is recalled."""

    table: str
    rows: int
    quarantined: int  # of these rows
    hours: int
    batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Everything a recall is about, down to aggregates; tables without such rows are left out."""

    tables: Sequence[Affected]
    aggregates: dict[str, int]  # table → rows that were made from recalled ones
    transformations: dict[str, int]  # version → recalled rows it made
    raw_batches: Sequence[int]  # that hold the messages of these rows, or of records that were filtered
    filtered: int = 0  # of these batches: how many hold records that were filtered


async def conditions(
    connection: Connection, selection: Selection, tables: Sequence[Recalled]
) -> list[Condition]:
    """The condition for each table that the selection can be about."""
    batches = await _batches(connection, selection)
    made = [_condition(selection, table, batches) for table in tables]
    return [condition for condition in made if condition is not None]


async def _batches(connection: Connection, selection: Selection) -> list[int] | None:
    """The numbers of the commits that are chosen; None: any."""
    if (selection.batch, selection.file, selection.transformation) == (None, None, None):
        return None
    uri = naming.file(selection.file) if selection.file else None
    rows = await connection.fetch(_BATCHES, selection.batch, selection.file, uri, selection.transformation)
    return [row["batch"] for row in rows]


def _condition(selection: Selection, table: Recalled, batches: list[int] | None) -> Condition | None:
    contract, parts, values = table.contract, list[str](), list[Any]()

    def add(sql: str, value: Any) -> None:
        values.append(value)
        parts.append(sql.format(f"${len(values)}"))

    for kind, identity in (("device", selection.device), ("experiment", selection.experiment)):
        if identity is not None:
            if table.about is None or table.about[0] != kind:
                return None
            add(f"{column_of('s', table.about[1])} = {{}}", identity)
    if batches is not None:
        if not batches:
            return None
        add("s.batch = ANY({}::bigint[])", batches)
        add("s.batch >= {}", batches[0])  # a range is what a BRIN index answers at once
        add("s.batch <= {}", batches[-1])
    for sign, moment in ((">=", selection.since), ("<", selection.until)):
        if moment is not None:
            if contract.time is None:
                return None
            add(f"{column_of('s', contract.time)} {sign} {{}}", moment)
    return Condition(contract, " AND ".join(parts), values)


async def scope_of(
    connection: Connection, found: Sequence[Condition], aggregates: Sequence[Aggregate]
) -> Scope:
    """Count everything that is derived from the chosen rows; changes nothing.

    `aggregates`: each after those that it is made from.
    """
    counted = [await _affected(connection, condition) for condition in found]
    made_of: dict[str, int] = {}
    reached = list(found)
    for aggregate in aggregates:
        parts = [_made_from(aggregate, each) for each in reached if each.contract.table in aggregate.sources]
        rows = await _number_of_rows(connection, aggregate, parts)
        made_of |= {aggregate.table: rows} if rows else {}
        reached += parts
    versions: dict[str, int] = {}
    raw: set[int] = set()
    for condition in found:
        for version, rows in await _versions(connection, condition):
            versions[version] = versions.get(version, 0) + rows
        raw.update(await raw_batches(connection, condition))
    return Scope(
        tables=[each for each in counted if each.rows],
        aggregates=made_of,
        transformations=versions,
        raw_batches=sorted(raw),
    )


async def with_filtered(connection: Connection, scope: Scope, selection: Selection) -> Scope:
    """With the batches of chosen commits that left records out.

    Nothing is known of such a record but its batch: neither what it was about, nor its time.
    """
    if (selection.device, selection.experiment, selection.since, selection.until) != (None,) * 4:
        return scope
    rows = await connection.fetch(_FILTERED, await _batches(connection, selection))
    filtered = {row["raw"] for row in rows}
    return replace(scope, raw_batches=sorted(filtered.union(scope.raw_batches)), filtered=len(filtered))


async def _affected(connection: Connection, condition: Condition) -> Affected:
    contract = condition.contract
    time = "null::timestamptz" if contract.time is None else column_of("s", contract.time)
    row = await connection.fetchrow(
        f"SELECT count(*) AS rows, count(*) FILTER (WHERE {in_quarantine(contract)}) AS quarantined, "
        f"count(DISTINCT date_trunc('hour', {time}, 'UTC')) AS hours, "
        f"count(DISTINCT s.batch) AS batches FROM {condition.table} s WHERE {condition.sql}",
        *condition.values,
    )
    assert row is not None  # noqa: S101 - an aggregate query gives one row
    return Affected(table=contract.table, **row)


def _made_from(aggregate: Aggregate, part: Condition) -> Condition:
    """The rows of the aggregate that were made from rows of one of its tables."""
    contract, source, bucket = aggregate.contract, part.contract, aggregate.bucket
    same = "".join(
        f" AND {column_of('a', name)} = {column_of('s', name)}" for name in shared_key(contract, source)
    )
    buckets = (
        bucket.start_sql(column_of(*of)) for of in (("a", contract.time_column), ("s", source.time_column))
    )
    made = (
        f"SELECT {listed(contract.key, 'a')} FROM {stored_table(source.table)} s "
        f"JOIN {stored_table(contract.table)} a ON {' = '.join(buckets)}{same} WHERE {part.sql}"
    )
    return Condition(contract, f"({listed(contract.key, 's')}) IN ({made})", part.values)


async def _number_of_rows(connection: Connection, aggregate: Aggregate, parts: Sequence[Condition]) -> int:
    """How many rows of the aggregate hold one of the conditions."""
    keys: set[tuple[Any, ...]] = set()
    names, table = listed(aggregate.contract.key, "s"), stored_table(aggregate.table)
    for part in parts:
        rows = await connection.fetch(f"SELECT {names} FROM {table} s WHERE {part.sql}", *part.values)
        keys.update(tuple(row) for row in rows)
    return len(keys)


async def _versions(connection: Connection, condition: Condition) -> list[tuple[str, int]]:
    rows = await connection.fetch(
        f"SELECT l.transformation_id, sum(r.rows)::bigint AS rows FROM (SELECT s.batch, count(*) AS rows "
        f"FROM {condition.table} s WHERE {condition.sql} GROUP BY s.batch) r "
        "JOIN store.ledger l USING (batch) GROUP BY 1 ORDER BY 1",
        *condition.values,
    )
    return [(row["transformation_id"], row["rows"]) for row in rows]


async def raw_batches(connection: Connection, condition: Condition) -> list[int]:
    """The batches that hold the messages of the chosen rows, the oldest first."""
    rows = await connection.fetch(
        f"SELECT DISTINCT coalesce(s.raw_batch, s.batch) AS batch FROM {condition.table} s "
        f"WHERE {condition.sql} ORDER BY 1",
        *condition.values,
    )
    return [row["batch"] for row in rows]


async def readers_of(connection: Connection, batches: Sequence[int]) -> list[tuple[int, str, str | None]]:
    """Of which dataset each of these raw batches is, and which pipeline read it, the oldest first."""
    rows = await connection.fetch(_READERS, batches)
    return [(row["batch"], row["dataset"], row["pipeline"]) for row in rows]
