"""What a commit looks up before it introduces a version of a transformation, against the log.

    store.transformations ── DERIVES       store.reigns ── SUPERSEDES, and RAN for the first of a name
    store.subjects ── ABOUT a dataset (a device) or its batches (an experiment), USED (labware, reagents)

Were they changed, edges would be missing or told twice, and the wrong version would be in force.
"""

from collections.abc import AsyncIterator

from .. import query_files
from ..ports import Connection

# Imports tell of the transformations of others, which are not introduced. A commit of messages, new or
# replayed, is of one source; any other introduces for all sources.
_TRANSFORMATIONS = query_files.read(__package__, "transformations_unlike.sql")
# The first of a name may say that it supersedes one of another name: its own of before, which reigned there.
_REIGNS = query_files.read(__package__, "reigns_unlike.sql")
# The number that orders versions in the graph; entries of before have none.
_RENUMBERED = query_files.read(__package__, "renumbered_reigns.sql")
_WITHOUT_REIGN = query_files.read(__package__, "without_reign.sql")

# Who is in there is not told of again; a row says of no batch, so that all of them are looked at, or none.
_TOLD = query_files.read(__package__, "subjects_told.sql")
_SUBJECTS = f"""
SELECT kind, id, dataset FROM store.subjects
EXCEPT SELECT kind, id, dataset FROM ({_TOLD}) told ORDER BY 1, 2, 3
"""
_WITHOUT_SUBJECT = f"""
SELECT told.kind, told.id, told.dataset FROM ({_TOLD}) told JOIN store.ledger g USING (batch)
WHERE g.way <> 'import' AND told.batch >= $1
EXCEPT SELECT kind, id, dataset FROM store.subjects ORDER BY 1, 2, 3
"""


async def check_introductions(connection: Connection, first: int) -> AsyncIterator[str]:
    """What the log does not tell of, and what it does and is not there; of batches from `first` on."""
    for row in await connection.fetch(_TRANSFORMATIONS, first):
        what = f"{row['transformation_id']} for {row['target']}"
        yield f"transformations, batch {row['batch']}: {what} {_differs(row['told'])}"
    for row in await connection.fetch(_REIGNS, first):
        what = row["transformation_id"] + (f" after {row['before']}" if row["before"] else "")
        yield f"reigns, batch {row['batch']}: {what} {_differs(row['told'])}"
    for row in await connection.fetch(_RENUMBERED):
        yield f"reigns, batch {row['batch']}: number {row['reign']} is not that of {row['source_key']}"
    for row in await connection.fetch(_WITHOUT_REIGN, first):
        yield f"reigns: no version of {row['name']} is in force, and it ran"
    for row in await connection.fetch(_WITHOUT_SUBJECT, first):
        yield f"subjects: {row['kind']} {row['id']} of {row['dataset']} {_differs(True)}"


async def check_subjects(connection: Connection) -> AsyncIterator[str]:
    """Those that the log does not tell of; reads the whole log."""
    for row in await connection.fetch(_SUBJECTS):
        yield f"subjects: {row['kind']} {row['id']} of {row['dataset']} is not from the log"


def _differs(told: bool) -> str:
    return "stands in the log and not there" if told else "is not from the log"
