-- Progress that is not where the last batch of its dataset ended.
SELECT p.pipeline, p.dataset, p.part, p.mark, last.ended FROM store.progress p LEFT JOIN LATERAL (
    SELECT mark.span->>1 AS ended FROM store.ledger g, LATERAL (
        SELECT CASE p.part WHEN '' THEN g.position->'mark' ELSE g.position->'marks'->p.part END AS span
    ) mark
    WHERE g.dataset = p.dataset AND g.pipeline = p.pipeline AND g.raw_digest IS NOT NULL
        AND mark.span IS NOT NULL
    ORDER BY g.processed_at DESC, g.batch DESC LIMIT 1
) last ON true
WHERE p.dataset !~ '^(kafka[+:]|file:)' AND p.mark IS DISTINCT FROM last.ended
    AND (p.part = '' OR last.ended IS NOT NULL) ORDER BY 1, 2, 3
