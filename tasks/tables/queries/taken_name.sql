-- A relation that has one of the names a contract's table would take.
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname = 'store' AND (c.relname = ANY($1::text[]) OR c.relname ~ $2))
   OR (n.nspname = 'public' AND c.relname = $3)
ORDER BY 1 LIMIT 1
