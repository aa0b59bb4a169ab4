-- Until when, and up to which batch, days are folded.
SELECT max(store.whole(source_facts->>'until')) AS until,
    coalesce(max(store.whole(source_facts->>'last')), 0) AS last
FROM store.lineage_log JOIN store.ledger USING (batch)
WHERE relationship_type = 'FOLDS' AND way = 'fold'
