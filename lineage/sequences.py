"""Sequences that are behind what is stored: a failover, a restore or a replica can leave them so.

Then a number would be given a second time. Whoever opens a connection to write looks at all of them, and
whoever takes the number of a batch at that one; they are set right, and `store.sequence_corrections` says it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from . import query_files
from .ports import Connection

# Which columns hold the numbers of which sequence: identities their own, and what is kept elsewhere too.
_NUMBERED = query_files.read(__package__, "numbered_columns.sql")
# One look into an index for each column.
_BEHIND = """
SELECT '{sequence}' AS sequence, last_value - (NOT is_called)::int AS was, greatest({newest}) AS newest
FROM {sequence}
"""
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('sequences'))"
_SET = "SELECT setval($1::text::regclass, $2)"
_SAY = "INSERT INTO store.sequence_corrections (sequence, was, became) VALUES ($1, $2, $3)"


@dataclass(frozen=True, slots=True)
class Behind:
    """A sequence whose next number may stand in a table already."""

    sequence: str
    was: int  # the last number it gave
    newest: int  # the highest number that is stored

    def __str__(self) -> str:
        return f"{self.sequence} is at {self.was}, and number {self.newest} is stored"


async def behind(connection: Connection) -> list[Behind]:
    """The sequences of the schema `store` that are behind what is stored; changes nothing."""
    columns: dict[str, list[str]] = defaultdict(list)
    for row in await connection.fetch(_NUMBERED):
        columns[row["sequence"]].append(f"(SELECT max({row['in_column']}) FROM {row['in_table']})")
    looks = [_BEHIND.format(sequence=name, newest=", ".join(of)) for name, of in columns.items()]
    rows = await connection.fetch(" UNION ALL ".join(looks))
    return [Behind(**row) for row in rows if row["newest"] is not None and row["was"] < row["newest"]]


async def set_right(connection: Connection) -> Sequence[Behind]:
    """Move each sequence that is behind to the highest number that is stored; returns how they were."""
    if not await behind(connection):
        return ()
    async with connection.transaction():
        await connection.execute(_LOCK)  # another may have done it meanwhile
        found = await behind(connection)
        for each in found:
            await connection.execute(_SET, each.sequence, each.newest)
            await connection.execute(_SAY, each.sequence, each.was, each.newest)
    return found
