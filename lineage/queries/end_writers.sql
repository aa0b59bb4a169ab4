-- Ends writers of which every entry is sealed.
UPDATE store.lineage_writers w SET ended_at = clock_timestamp()
WHERE writer = ANY($1) AND NOT EXISTS (
    SELECT FROM store.lineage_log l WHERE l.writer = w.writer AND l.number > coalesce(
        (SELECT s.last FROM store.lineage_spans s WHERE s.writer = w.writer ORDER BY s.last DESC LIMIT 1), 0)
)
