-- Stores the rows of a bucket ($1 to $2); returns how many, and whether all are within it.
WITH made AS (
    INSERT INTO {table} ({columns}, processed_at, batch)
    SELECT {columns}, $3::timestamptz, $4::bigint FROM (
{sql}
) AS computed ORDER BY {key} RETURNING {time} AS "its time"
)
SELECT count(*) AS rows, coalesce(bool_and("its time" >= $1 AND "its time" < $2), true) AS within FROM made
