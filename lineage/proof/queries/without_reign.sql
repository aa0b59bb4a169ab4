-- Transformations that ran and never came into force.
SELECT DISTINCT l.target_facts->>'name' AS name
FROM store.lineage_log l JOIN store.ledger g USING (batch)
WHERE l.relationship_type = 'RAN' AND g.way <> 'import' AND l.batch >= $1 AND NOT EXISTS (
    SELECT FROM store.reigns r WHERE r.name = l.target_facts->>'name'
) ORDER BY 1
