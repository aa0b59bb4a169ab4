-- The last batch with an entry up to seal $1.
SELECT max(l.batch) FROM store.lineage_writers w CROSS JOIN LATERAL (
    SELECT last FROM store.lineage_spans s WHERE s.writer = w.writer AND s.seal <= $1
    ORDER BY last DESC LIMIT 1
) s JOIN store.lineage_log l ON l.writer = w.writer AND l.number = s.last
