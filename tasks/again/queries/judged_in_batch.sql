-- The rejected records whose newest verdict is of batch $1.
SELECT r.* FROM (
    SELECT identity FROM store.rejected WHERE batch = $1
    UNION SELECT identity FROM store.replays WHERE batch = $1 AND verdict = 'rejected'
) judged JOIN store.rejected r USING (identity)
WHERE $1 = coalesce((
    SELECT max(p.batch) FROM store.replays p WHERE p.identity = r.identity AND p.verdict = 'rejected'
), r.batch) ORDER BY r.sequence, r.part
