-- Which keys stand and were not judged by a version, or are of one batch.
SELECT {names} FROM {keys} AS a JOIN {table} s USING ({names})
WHERE coalesce(s.raw_batch, s.batch) = ${batch} OR NOT EXISTS (
    SELECT FROM store.ledger l WHERE l.transformation_id = ${version}
    AND (l.batch = coalesce(s.raw_batch, s.batch) OR l.raw_batch = coalesce(s.raw_batch, s.batch))
)
