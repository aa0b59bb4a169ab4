-- What decides whether this server loses a commit: version, TLS, fsync, connections, clock.
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
    current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity) AS free,
    clock_timestamp() AS now
