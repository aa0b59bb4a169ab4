-- Entries of folds up to seal $1 that reach beyond batch $2 or time $3.
SELECT l.* FROM store.lineage_log l
WHERE l.relationship_type = 'FOLDS' AND (
    store.whole(l.source_facts->>'last') >= $2 OR store.whole(l.source_facts->>'until') > $3
) AND EXISTS (
    SELECT FROM store.lineage_spans s
    WHERE s.writer = l.writer AND l.number BETWEEN s.first AND s.last AND s.seal <= $1
)
