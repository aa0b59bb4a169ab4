-- Rejected records whose attempts or end are not what their replays say.
SELECT r.batch, count(*) AS records FROM (
    SELECT identity FROM store.rejected WHERE batch >= $1 AND batch < $2
    UNION SELECT identity FROM store.replays WHERE batch >= $1 AND batch < $2
) judged JOIN store.rejected r USING (identity)
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE verdict = 'rejected') AS again,
        nullif(max(p.batch), max(p.batch) FILTER (WHERE verdict = 'rejected')) AS resolved_by
    FROM store.replays p WHERE p.identity = r.identity
) said ON true
WHERE r.attempts <> 1 + said.again OR r.resolved_by IS DISTINCT FROM said.resolved_by
GROUP BY r.batch ORDER BY r.batch
