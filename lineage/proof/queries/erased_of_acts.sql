-- How many messages each act erased, and how many of them the log tells.
SELECT e.act, count(*) AS messages, count(*) FILTER (WHERE EXISTS (
    SELECT FROM store.lineage_log l JOIN store.ledger g ON g.batch = l.batch
    JOIN store.ledger held ON held.batch = e.batch
    WHERE l.batch = e.act AND l.source_key IN (held.dataset || '#' || e.batch, $3 || e.batch)
        AND l.target_key = $4 || e.act
        AND e.sequence::text = ANY (string_to_array(l.target_facts->>'sequences', ','))
)) AS told
FROM store.erasures e WHERE e.act >= $1 AND e.act < $2 GROUP BY e.act ORDER BY e.act
