-- Every dataset that was read: its last commit, and what came in the last hour.
WITH RECURSIVE known (name) AS (
    SELECT ''
    UNION ALL
    SELECT (SELECT min(dataset) FROM store.ledger WHERE raw_digest IS NOT NULL AND dataset > name)
    FROM known WHERE name IS NOT NULL
), recent AS (
    SELECT dataset, count(*) AS batches, sum(read)::bigint AS read, sum(rejected)::bigint AS rejected
    FROM store.ledger
    WHERE raw_digest IS NOT NULL AND processed_at > statement_timestamp() - interval '1 hour'
    GROUP BY dataset
)
SELECT name, coalesce(batches, 0) AS batches, coalesce(read, 0) AS read, coalesce(rejected, 0) AS rejected,
    (
        SELECT max(processed_at) FROM store.ledger WHERE raw_digest IS NOT NULL AND dataset = name
    ) AS last_commit
FROM known LEFT JOIN recent ON dataset = name WHERE name > '' ORDER BY name
