-- How far what the demo sent has come: committed, ended, summed up, derived at all.
SELECT (SELECT coalesce(sum(read), 0)::bigint FROM store.ledger WHERE dataset LIKE 'mqtt:%') AS readings,
    (SELECT count(*) FROM experiments WHERE status IN ('succeeded', 'failed', 'stopped')) AS ended_runs,
    (SELECT count(*) FROM store.change_marks) AS changed_buckets,
    (SELECT count(*) FROM unnest($1::text[]) AS name WHERE NOT EXISTS (
        SELECT FROM store.mark_readers WHERE reader = name AND filled_at IS NOT NULL
    )) AS not_made
