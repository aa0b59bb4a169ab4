// How fresh is each dataset: when was its last batch made, and when was that known?
MATCH (d:Dataset)<-[part:PART_OF]-(b:Batch)
WHERE part.valid_from <= $valid_at AND part.known_at <= $known_at AND coalesce(b.batches, 1) > 0
WITH d, part, b, coalesce(b.last_known_at <= $known_at AND b.last_created_at <= $valid_at, false) AS whole_day
RETURN d.key AS dataset,
    max(CASE WHEN whole_day THEN b.last_created_at ELSE part.created_at END) AS last_created_us,
    max(CASE WHEN whole_day THEN b.last_known_at ELSE part.known_at END) AS last_known_us
ORDER BY last_created_us, dataset
