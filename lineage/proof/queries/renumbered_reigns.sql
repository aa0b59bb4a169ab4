-- Entries whose reign has another number in the store.
SELECT l.batch, l.source_key, l.facts->>'reign' AS reign FROM store.lineage_log l
WHERE l.relationship_type = 'SUPERSEDES' AND l.facts->>'reign' IS NOT NULL AND NOT EXISTS (
    SELECT FROM store.reigns r
    WHERE (r.reign::text, r.transformation_id, r.batch) = (l.facts->>'reign', l.source_key, l.batch)
) ORDER BY l.batch, l.source_key
