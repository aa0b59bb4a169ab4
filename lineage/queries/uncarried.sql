-- How many sealed entries a sink has not got, and since when the oldest waits.
WITH reached AS (SELECT coalesce((SELECT seal FROM store.relay_cursors WHERE sink = $1), 0) AS seal)
SELECT
    coalesce((SELECT total FROM store.lineage_seals ORDER BY seal DESC LIMIT 1), 0)
    - coalesce((SELECT total FROM store.lineage_seals s WHERE s.seal = reached.seal), 0) AS entries,
    (SELECT sealed_at FROM store.lineage_seals s WHERE s.seal > reached.seal ORDER BY s.seal LIMIT 1)
        AS oldest
FROM reached
