"""Filtered records against the log: each batch's entry says how many there are, with a digest of which."""

from collections import Counter
from collections.abc import AsyncIterator

import polars as pl

from ..filtered import FILTERED, SCHEMA, Told, hash_of
from ..model import batch_node
from ..ports import Connection
from ..stored import chunks
from .books import Books

_FILTERED = (
    "SELECT identity, batch, raw_batch, sequence, part FROM store.filtered WHERE batch >= $1 AND batch < $2"
)
_SAID = """
SELECT batch, target_key, target_facts->>'rows' AS rows, target_facts->>'digest' AS digest
FROM store.lineage_log WHERE batch >= $1 AND batch < $2 AND relationship_type = 'FEEDS'
AND starts_with(target_key, $3)
"""


async def check_filtered(connection: Connection, books: Books, first: int, end: int) -> AsyncIterator[str]:
    """The filtered records of first ≤ batch < end."""
    stored, said = await _stored(connection, first, end), await _said(connection, first, end)
    for number in sorted(stored.keys() | said.keys()):
        found, expected = stored.get(number, Told(0, "")), said.get(number)
        if number not in books.ledger:
            yield f"filtered: {found.rows} record(s) of batch {number}, which is not in the ledger"
        elif expected is None:
            yield f"filtered, batch {number}: {found.rows} record(s) stored, none recorded"
        elif str(found.rows) != expected[0]:
            yield f"filtered, batch {number}: {expected[0]} record(s) recorded, {found.rows} stored"
        elif found.digest != expected[1]:
            yield f"filtered, batch {number}: its {found.rows} record(s) are not those that were recorded"
        elif found.rows > books.ledger[number]["filtered"]:
            yield (
                f"filtered, batch {number}: {found.rows} record(s) stored, and the ledger says that "
                f"{books.ledger[number]['filtered']} were filtered"
            )


async def _stored(connection: Connection, first: int, end: int) -> dict[int, Told]:
    rows: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    async for some in chunks(connection, _FILTERED, first, end):
        frame = pl.DataFrame([tuple(row) for row in some], schema=SCHEMA, orient="row")
        for (number,), each in frame.group_by("batch"):
            rows[int(str(number))] += each.height
            sums[int(str(number))] += hash_of(each)
    return {number: Told(count, f"{sums[number] % (1 << 64):016x}") for number, count in rows.items()}


async def _said(connection: Connection, first: int, end: int) -> dict[int, tuple[str, str]]:
    """Batch → rows and digest, as its own entry says them."""
    found = await connection.fetch(_SAID, first, end, f"{FILTERED}#")
    own = [row for row in found if row["target_key"] == batch_node(FILTERED, row["batch"]).key]
    return {row["batch"]: (row["rows"], row["digest"]) for row in own}
