-- Writers of the log that nobody opened, or that ended with entries unsealed.
WITH RECURSIVE wrote AS (
    (SELECT writer FROM store.lineage_log ORDER BY writer LIMIT 1)
    UNION ALL
    SELECT (SELECT l.writer FROM store.lineage_log l WHERE l.writer > w.writer ORDER BY l.writer LIMIT 1)
    FROM wrote w WHERE w.writer IS NOT NULL
)
SELECT w.writer, k.writer IS NULL AS unknown, newest.number - coalesce(s.last, 0) AS unsealed
FROM wrote w
LEFT JOIN store.lineage_writers k ON k.writer = w.writer
CROSS JOIN LATERAL (
    SELECT number FROM store.lineage_log l WHERE l.writer = w.writer ORDER BY number DESC LIMIT 1
) newest
LEFT JOIN LATERAL (
    SELECT last FROM store.lineage_spans s WHERE s.writer = w.writer ORDER BY last DESC LIMIT 1
) s ON true
WHERE k.writer IS NULL OR (k.ended_at IS NOT NULL AND newest.number > coalesce(s.last, 0)) ORDER BY 1
