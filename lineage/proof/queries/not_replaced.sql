-- Rows of a history that nothing observed later replaced.
SELECT h.batch, h.replaced_by, count(*) AS rows FROM {history} h
LEFT JOIN store.ledger g ON g.batch = h.replaced_by
WHERE {new} AND NOT {made_again} AND NOT {observed}
GROUP BY 1, 2 ORDER BY 1, 2
