"""What a commit looks up before it introduces a version of a transformation, against the log.

    store.transformations ── DERIVES       store.reigns ── SUPERSEDES, and RAN for the first of a name
    store.subjects ── ABOUT a dataset (a device) or its batches (an experiment), USED (labware, reagents)

Were they changed, edges would be missing or told twice, and the wrong version would be in force.
"""

from collections.abc import AsyncIterator

from ..ports import Connection

# Imports tell of the transformations of others, which are not introduced. A commit of messages, new or
# replayed, is of one source; any other introduces for all sources.
_TRANSFORMATIONS = """
WITH told AS (
    SELECT DISTINCT l.transformation_id, l.batch, l.target_facts->>'dataset' AS target,
        CASE WHEN g.raw_digest IS NULL AND g.raw_batch IS NULL THEN '' ELSE g.dataset END AS source
    FROM store.lineage_log l JOIN store.ledger g USING (batch)
    WHERE l.relationship_type = 'DERIVES' AND g.way <> 'import' AND l.batch >= $1
), kept AS (
    SELECT transformation_id, batch, target, source FROM store.transformations
    WHERE starts_with(transformation_id, name || '@') AND batch >= $1
)
SELECT * FROM (
    (SELECT *, true AS told FROM told EXCEPT SELECT *, true FROM kept)
    UNION ALL (SELECT transformation_id, batch, target, source, false FROM store.transformations
        WHERE batch >= $1 EXCEPT SELECT *, false FROM told)
) different ORDER BY batch, transformation_id, target, told
"""
# The first of a name may say that it supersedes one of another name: its own of before, which reigned there.
_REIGNS = """
WITH told AS (
    SELECT l.source_facts->>'name' AS name, l.source_key AS transformation_id, l.batch,
        CASE WHEN l.target_facts->>'name' = l.source_facts->>'name' THEN l.target_key END AS before
    FROM store.lineage_log l JOIN store.ledger g USING (batch)
    WHERE l.relationship_type = 'SUPERSEDES' AND g.way <> 'import' AND l.batch >= $1
), kept AS (
    SELECT * FROM (
        SELECT name, transformation_id, batch,
            lag(transformation_id) OVER (PARTITION BY name ORDER BY reign) AS before
        FROM store.reigns
    ) reigned WHERE batch >= $1
), first AS (
    SELECT * FROM kept WHERE before IS NULL AND EXISTS (
        SELECT FROM store.lineage_log l WHERE l.batch = kept.batch AND l.relationship_type = 'RAN'
        AND l.target_facts->>'name' = kept.name AND l.target_key = kept.transformation_id
    )
)
SELECT * FROM (
    (SELECT *, true AS told FROM told EXCEPT SELECT *, true FROM kept)
    UNION ALL (SELECT *, false FROM kept EXCEPT SELECT *, false FROM told EXCEPT SELECT *, false FROM first)
) different ORDER BY batch, transformation_id, told
"""
# The number that orders versions in the graph; entries of before have none.
_RENUMBERED = """
SELECT l.batch, l.source_key, l.facts->>'reign' AS reign FROM store.lineage_log l
WHERE l.relationship_type = 'SUPERSEDES' AND l.facts->>'reign' IS NOT NULL AND NOT EXISTS (
    SELECT FROM store.reigns r
    WHERE (r.reign::text, r.transformation_id, r.batch) = (l.facts->>'reign', l.source_key, l.batch)
) ORDER BY l.batch, l.source_key
"""
_WITHOUT_REIGN = """
SELECT DISTINCT l.target_facts->>'name' AS name
FROM store.lineage_log l JOIN store.ledger g USING (batch)
WHERE l.relationship_type = 'RAN' AND g.way <> 'import' AND l.batch >= $1 AND NOT EXISTS (
    SELECT FROM store.reigns r WHERE r.name = l.target_facts->>'name'
) ORDER BY 1
"""

# Who is in there is not told of again; a row says of no batch, so that all of them are looked at, or none.
_TOLD = """
SELECT source_facts->>'kind' AS kind, source_facts->>'id' AS id,
    coalesce(target_facts->>'dataset', target_key) AS dataset, batch
FROM store.lineage_log WHERE relationship_type = 'ABOUT'
UNION ALL
SELECT target_facts->>'kind', target_facts->>'id', source_facts->>'id', batch
FROM store.lineage_log WHERE relationship_type = 'USED'
"""
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
