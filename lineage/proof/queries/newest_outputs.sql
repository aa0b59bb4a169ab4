-- The newest output of each bucket of a derived table.
SELECT DISTINCT ON (o.bucket) o.*, g.digest_version, g.digest_key
FROM store.ledger_outputs o LEFT JOIN store.ledger g USING (batch)
WHERE o.table_name = $1 AND o.bucket IS NOT NULL {touched}
ORDER BY o.bucket, o.batch DESC
