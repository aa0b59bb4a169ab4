-- The rows of a reference table as they stood after batch $1.
SELECT {columns} FROM (
    SELECT {columns}, {key_text} AS "key as text" FROM {table} s WHERE batch <= $1
    UNION ALL
    SELECT {columns}, {key_text} FROM {table_history} s WHERE batch <= $1 AND replaced_by > $1
) stood
WHERE "key as text" NOT IN (
    SELECT key FROM (
        SELECT DISTINCT ON (key) key, released FROM store.quarantine
        WHERE table_name = $2 AND act <= $1 ORDER BY key, act DESC
    ) judged WHERE NOT released
)
