-- Datasets that were read by marks, of which no progress is kept.
SELECT DISTINCT g.pipeline, g.dataset, part.name AS part FROM store.ledger g, LATERAL (
    SELECT '' AS name WHERE g.position->'mark' IS NOT NULL
    UNION ALL
    SELECT json_object_keys(g.position->'marks') WHERE json_typeof(g.position->'marks') = 'object'
) part
WHERE g.batch >= $1 AND g.raw_digest IS NOT NULL
AND NOT EXISTS (
    SELECT FROM store.progress p
    WHERE p.pipeline = g.pipeline AND p.dataset = g.dataset AND p.part = part.name
) ORDER BY 1, 2, 3
