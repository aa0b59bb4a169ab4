-- Open writers whose process is gone.
SELECT writer FROM (
    SELECT writer, pg_try_advisory_lock($1, (writer % 2147483648)::int) AS gone
    FROM store.lineage_writers
    WHERE ended_at IS NULL AND application NOT LIKE 'record %' OFFSET 0
) tried WHERE gone
