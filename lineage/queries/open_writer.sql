-- Opens a writer's chain, and locks it as long as its connection lives.
WITH opened AS (
    INSERT INTO store.lineage_writers (application) VALUES ($1) RETURNING writer, opened_at
),
locked AS (SELECT writer, opened_at, pg_advisory_lock($2, (writer % 2147483648)::int) FROM opened)
SELECT writer, opened_at FROM locked
