// The batches of a dataset that a fold stands for, some at a time.
MATCH (b:Batch)-[:PART_OF]->(:Dataset {{key: $dataset}})
WHERE (b.number >= $first AND b.number <= $last)
    OR (coalesce(b.bucket, b.hour) >= $since AND coalesce(b.bucket, b.hour) < $until)
RETURN b.key AS key LIMIT {folded}
