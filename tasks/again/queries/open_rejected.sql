-- The rejected records of raw batch $1 that wait, and are not judged by version $3 already.
SELECT * FROM (
    SELECT identity, sequence, part, rules, coalesce((
        SELECT l.transformation_id = $3 AND ($4::jsonb = '{}' OR coalesce(l.looked_up::jsonb @> $4, false))
        FROM store.replays p JOIN store.ledger l ON l.batch = p.batch
        WHERE p.identity = r.identity ORDER BY p.batch DESC LIMIT 1
    ), false) AS judged
    FROM store.rejected r
    WHERE (r.raw_batch = $1 OR (r.batch = $1 AND r.raw_batch IS NULL)) AND r.resolved_by IS NULL
      AND ($2::bytea[] IS NULL OR r.identity = ANY($2))
) o
WHERE NOT judged OR 'key.conflict' = ANY(rules)
ORDER BY identity
