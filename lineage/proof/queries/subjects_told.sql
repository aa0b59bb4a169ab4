-- Every subject that the log tells of, the dataset that it is about, and the batch.
SELECT source_facts->>'kind' AS kind, source_facts->>'id' AS id,
    coalesce(target_facts->>'dataset', target_key) AS dataset, batch
FROM store.lineage_log WHERE relationship_type = 'ABOUT'
UNION ALL
SELECT target_facts->>'kind', target_facts->>'id', source_facts->>'id', batch
FROM store.lineage_log WHERE relationship_type = 'USED'
