// How fresh is each dataset: when was its last batch made, and when was that known?
// A bucket of a derived table is made again by each run that writes it. Of a folded day the last time is kept: as of an
// earlier one within the day its first is told, and `on_day` names the day, at some time of which the last was made.
MATCH (d:Dataset)<-[part:PART_OF]-(b:Batch)
WHERE part.valid_from <= $valid_at AND part.known_at <= $known_at
    AND coalesce(b.batches, 1) > 0 AND b.read IS NULL
OPTIONAL MATCH (b)<-[made:FEEDS|WROTE]-()
WHERE coalesce(b.bucket, b.hour, b.day) IS NOT NULL AND made.valid_from <= $valid_at AND made.known_at <= $known_at
WITH d, part, b, max(made.created_at) AS again_at, max(made.known_at) AS again_known_at,
    coalesce(b.last_known_at <= $known_at AND b.last_created_at <= $valid_at, false) AS whole_day
WITH d, b, again_at, again_known_at, whole_day,
    CASE WHEN whole_day THEN b.last_created_at ELSE part.created_at END AS made_at,
    CASE WHEN whole_day THEN b.last_known_at ELSE part.known_at END AS known_at
RETURN d.key AS dataset,
    max(CASE WHEN again_at > made_at THEN again_at ELSE made_at END) AS last_created_us,
    max(CASE WHEN again_known_at > known_at THEN again_known_at ELSE known_at END) AS last_known_us,
    max(CASE WHEN b.day IS NOT NULL AND NOT whole_day THEN b.day ELSE null END) AS on_day
ORDER BY last_created_us, dataset
