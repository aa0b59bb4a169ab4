-- Transformations that the log tells and the store does not keep, or the other way.
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
