-- Every column of the store that a sequence numbers.
SELECT pg_get_serial_sequence(format('store.%I', c.relname), a.attname) AS sequence,
    format('store.%I', c.relname) AS in_table, quote_ident(a.attname) AS in_column
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'store'::regnamespace AND c.relkind = 'r' AND a.attidentity <> ''
UNION ALL
SELECT sequence, in_table, in_column FROM (VALUES
    ('store.batch_number', 'store.ledger', 'batch'),
    ('store.batch_number', 'store.raw_batches', 'batch'),
    ('store.batch_number', 'store.recalls', 'act'),
    (pg_get_serial_sequence('store.lineage_writers', 'writer'), 'store.lineage_log', 'writer'),
    (pg_get_serial_sequence('store.lineage_writers', 'writer'), 'store.lineage_spans', 'writer')
) known (sequence, in_table, in_column)
WHERE to_regclass(in_table) IS NOT NULL
ORDER BY 1, 2
