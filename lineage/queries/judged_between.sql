-- Rejected records as each batch from $1 to $2 judged them.
SELECT j.batch AS judged_by, next.before, r.* FROM (
    SELECT identity, batch FROM store.rejected WHERE batch >= $1 AND batch < $2
    UNION ALL
    SELECT identity, batch FROM store.replays WHERE verdict = 'rejected' AND batch >= $1 AND batch < $2
) j
JOIN store.rejected r USING (identity)
LEFT JOIN LATERAL (
    SELECT p.before FROM store.replays p
    WHERE p.identity = j.identity AND p.batch > j.batch AND p.verdict = 'rejected' ORDER BY p.batch LIMIT 1
) next ON true
