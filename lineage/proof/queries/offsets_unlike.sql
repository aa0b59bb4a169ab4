-- Partitions whose next offset is not where the last batch of them ended.
SELECT p.dataset, p.part, array_to_string(p.marks, ', ') AS marks, last.ended FROM (
    SELECT dataset, part, array_agg(mark ORDER BY mark) AS marks FROM store.progress
    WHERE dataset ~ '^kafka[+:]' AND part <> '' GROUP BY 1, 2
) p CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT g.batch, g.position->'offsets'->p.part->>1 AS ended FROM store.ledger g
        WHERE g.dataset = p.dataset AND g.raw_digest IS NOT NULL AND g.position->'offsets'->p.part IS NOT NULL
        ORDER BY g.processed_at DESC LIMIT 100
    ) newest ORDER BY batch DESC LIMIT 1
) last
WHERE last.ended <> ALL (p.marks) ORDER BY 1, 2
