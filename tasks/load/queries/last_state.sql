-- The newest batch that changed a reference table.
SELECT coalesce(greatest(
    (SELECT max(batch) FROM {table}),
    (SELECT max(replaced_by) FROM {table_history}),
    (SELECT max(act) FROM store.quarantine WHERE table_name = $1)
), 0)
