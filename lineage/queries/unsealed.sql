-- Each open writer's entries after its last seal.
SELECT w.writer, coalesce(s.last, 0) AS number, newest.number AS head, next.created_at AS oldest
FROM store.lineage_writers w
LEFT JOIN LATERAL (
    SELECT last, seal FROM store.lineage_spans s WHERE s.writer = w.writer ORDER BY s.last DESC LIMIT 1
) s ON true
CROSS JOIN LATERAL (
    SELECT l.number FROM store.lineage_log l WHERE l.writer = w.writer ORDER BY l.number DESC LIMIT 1
) newest
CROSS JOIN LATERAL (
    SELECT l.created_at FROM store.lineage_log l
    WHERE l.writer = w.writer AND l.number > coalesce(s.last, 0) ORDER BY l.number LIMIT 1
) next
WHERE w.ended_at IS NULL
ORDER BY coalesce(s.seal, 0), w.writer
