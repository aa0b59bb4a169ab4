-- Reigns that the log tells and the store does not keep, or the other way.
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
