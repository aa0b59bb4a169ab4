-- Marks of buckets in which their batch has no row.
SELECT m.batch, m.bucket FROM store.change_marks m
WHERE m.reader = {reader} AND m.table_name = {table} AND m.batch >= $1 AND NOT EXISTS (
    SELECT FROM ({changed}) changed WHERE changed.batch = m.batch AND changed.bucket = m.bucket
) ORDER BY 1, 2
