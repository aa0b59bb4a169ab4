-- What the batches of a day come to, by dataset: how many, their rows, their last times, what was rejected.
WITH named AS (
    SELECT source_facts AS facts, coalesce(source_facts->>'bucket', source_facts->>'hour') AS bucket,
        writer, number, created_at, false AS made FROM store.lineage_log
    WHERE source_kind = 'Batch' AND batch BETWEEN $1 AND $2
    UNION ALL
    SELECT target_facts, coalesce(target_facts->>'bucket', target_facts->>'hour'),
        writer, number, created_at, true FROM store.lineage_log
    WHERE target_kind = 'Batch' AND batch BETWEEN $1 AND $2
), batches AS (
    SELECT facts->>'dataset' AS dataset, store.whole(facts->>'number') AS number,
        store.whole(bucket) AS bucket, max(store.whole(facts->>'rows')) AS rows,
        coalesce(max(created_at) FILTER (WHERE made AND bucket IS NOT NULL), min(created_at)) AS created_at,
        coalesce(max(s.sealed_at) FILTER (WHERE made AND bucket IS NOT NULL), min(s.sealed_at)) AS known_at,
        bool_or(coalesce(facts->>'read', 'false') = 'true') AS read
    FROM named n
    LEFT JOIN LATERAL (
        SELECT seal FROM store.lineage_spans p WHERE p.writer = n.writer AND p.last >= n.number
        ORDER BY p.last LIMIT 1
    ) span ON true
    LEFT JOIN store.lineage_seals s USING (seal)
    GROUP BY 1, 2, 3
), days AS (
    SELECT dataset, count(*) FILTER (WHERE NOT read) AS batches, coalesce(sum(rows), 0)::bigint AS rows,
        max(created_at) FILTER (WHERE NOT read) AS last_created_at,
        max(known_at) FILTER (WHERE NOT read) AS last_known_at
    FROM batches
    WHERE number BETWEEN $1 AND $2 OR (bucket >= $3 AND bucket < $4) GROUP BY dataset
), sources AS (
    SELECT dataset, count(*) AS rejected_batches, sum(rejected)::bigint AS rejected
    FROM store.ledger WHERE batch BETWEEN $1 AND $2 AND rejected > 0 GROUP BY dataset
)
SELECT dataset, coalesce(batches, 0) AS batches, coalesce(rows, 0) AS rows, last_created_at, last_known_at,
    rejected_batches, rejected
FROM days FULL JOIN sources USING (dataset) ORDER BY dataset
