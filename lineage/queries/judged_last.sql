-- Rejected records, and the key of the batch that judged them last.
SELECT r.*, g.digest_version, g.digest_key FROM store.rejected r
JOIN store.ledger g ON g.batch = coalesce((
    SELECT max(p.batch) FROM store.replays p WHERE p.identity = r.identity AND p.verdict = 'rejected'
), r.batch)
WHERE r.identity = ANY($1::bytea[])
