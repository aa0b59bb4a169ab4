"""Column coverage: every column of a stored table says what it comes from, for each version that wrote it."""

from collections.abc import AsyncIterator, Mapping

from ..ports import Connection
from ..stored import TableShape

_WROTE = """
SELECT DISTINCT l.transformation_id, o.table_name FROM store.ledger l
JOIN store.ledger_outputs o USING (batch) WHERE l.batch >= $1 AND o.rows > 0
"""
_SAID = """
SELECT DISTINCT transformation_id, target_facts->>'dataset' AS dataset, target_facts->>'column' AS name
FROM store.lineage_log WHERE relationship_type = 'DERIVES' AND transformation_id = ANY($1)
"""


async def check_coverage(
    connection: Connection, tables: Mapping[str, TableShape], first: int, uri: str
) -> AsyncIterator[str]:
    """A sentence for each column without an edge, of what was written from batch `first` on.

    `uri`: how the name of a stored table begins.
    """
    wrote = await connection.fetch(_WROTE, first)
    rows = await connection.fetch(_SAID, sorted({row["transformation_id"] for row in wrote}))
    said = {(row["transformation_id"], row["dataset"], row["name"]) for row in rows}
    known = [row for row in wrote if row["table_name"] in tables]
    for row in sorted(known, key=lambda row: (row["table_name"], row["transformation_id"])):
        table, by = row["table_name"], row["transformation_id"]
        missing = _missing(
            tables[table], {name for who, to, name in said if (who, to) == (by, f"{uri}{table}")}
        )
        if missing:
            yield f"{table}: no edge says what {', '.join(missing)} comes from, as {by} wrote it"


def _missing(shape: TableShape, said: set[str]) -> list[str]:
    """The columns without an edge, unless an earlier version of the table had none of them so called."""
    missing = [[name for name in columns if name not in said] for columns in shape.spellings]
    return missing[0] if all(missing) else []
