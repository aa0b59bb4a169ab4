// Which datasets are there, how many batches has each, and when did the last one come?
// A folded day's node stands for many batches, or, of a day without any, for none.
MATCH (d:Dataset)-[r]-(other)
WHERE r.valid_from <= $valid_at AND r.known_at <= $known_at AND coalesce(other.batches, 1) > 0
WITH d, r, other, type(r) = 'PART_OF' AND labels(other)[0] = 'Batch' AS stored
RETURN d.key AS dataset, sum(CASE WHEN stored THEN coalesce(other.batches, 1) ELSE 0 END) AS batches,
    max(CASE WHEN NOT stored THEN null
        WHEN other.last_known_at <= $known_at AND other.last_created_at <= $valid_at THEN other.last_created_at
        ELSE r.created_at END) AS last_created_us
ORDER BY dataset
