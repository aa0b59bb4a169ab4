-- Rows that stand although one in the history was observed later.
SELECT s.batch, count(*) AS rows FROM {history} h JOIN {table} s ON {same}
LEFT JOIN store.ledger g ON g.batch = h.replaced_by
WHERE {new} AND h.observed_at > s.observed_at AND NOT {made_again} AND NOT EXISTS (
    SELECT FROM {history} h2 JOIN store.ledger g2 ON g2.batch = h2.replaced_by
    WHERE {withdrawn} AND g2.way = 'reprocess' AND h2.observed_at >= h.observed_at
) GROUP BY 1 ORDER BY 1
