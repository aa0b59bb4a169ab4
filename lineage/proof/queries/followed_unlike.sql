-- Followed files that were read to another place than the ledger says.
SELECT f.path, f.number, p.mark, last.ended FROM store.followed_files f
LEFT JOIN store.progress p ON p.pipeline = f.pipeline AND p.part = f.file::text
LEFT JOIN LATERAL (
    SELECT concat_ws(' ', g.position->>'to', g.position->>'line', g.position->>'sha256') AS ended,
        g.position->>'path' AS path, g.pipeline
    FROM store.ledger g WHERE g.position->>'file' = f.file::text AND g.raw_digest IS NOT NULL
    ORDER BY (g.position->>'to')::bigint DESC LIMIT 1
) last ON true
WHERE p.mark IS DISTINCT FROM last.ended OR (f.path, f.pipeline) <> (last.path, last.pipeline) ORDER BY 1, 2
