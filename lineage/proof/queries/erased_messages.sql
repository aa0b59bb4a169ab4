-- The messages of batches that were erased, as far as the log tells it.
SELECT e.batch, array_agg(e.sequence) AS sequences FROM store.erasures e
JOIN store.ledger g ON g.batch = e.act
JOIN store.ledger held ON held.batch = e.batch
JOIN store.lineage_log l ON l.writer = g.writer AND l.number BETWEEN g.first_entry AND g.last_entry
WHERE e.batch >= $1 AND e.batch < $2
    AND l.source_key IN (held.dataset || '#' || e.batch, '{raw}#' || e.batch)
    AND l.target_key = '{erasures}#' || e.act
    AND e.sequence::text = ANY (string_to_array(l.target_facts->>'sequences', ','))
GROUP BY e.batch
