-- Who begins sessions in which no trigger fires.
SELECT 'this session begins' AS who FROM pg_settings
WHERE name = 'session_replication_role' AND reset_val <> 'origin'
UNION ALL
SELECT coalesce('role ' || r.rolname || ' begins', 'every session begins') FROM pg_db_role_setting s
LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND EXISTS (SELECT FROM unnest(s.setconfig) each
        WHERE each LIKE 'session_replication_role=%' AND each NOT LIKE '%=origin')
