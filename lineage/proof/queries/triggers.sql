-- Every trigger on what is proved, and whether it refuses changes.
SELECT c.relname AS table_name, t.tgname AS name, t.tgenabled::text AS enabled, t.tgtype AS type,
    t.tgfoid = 'store.refuse_change'::regproc AND t.tgqual IS NULL AS refuses, n.nspname AS schema
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND (n.nspname = 'store' OR (n.nspname = 'public' AND c.relname = ANY ($1)))
ORDER BY 1, 2
