// Which datasets are there, how many batches has each, and when did the last one come?
// A bucket of a derived table comes again with each run that writes it. What a flow only read is no batch. A folded day's
// node stands for many batches, or, of a day without any, for none; as of a time within such a day all of it
// counts, and `on_day` names it, since the last came at some time of that day.
MATCH (d:Dataset)-[r]-(other)
WHERE r.valid_from <= $valid_at AND r.known_at <= $known_at AND coalesce(other.batches, 1) > 0
OPTIONAL MATCH (other)<-[made:FEEDS|WROTE]-()
WHERE type(r) = 'PART_OF' AND coalesce(other.bucket, other.hour, other.day) IS NOT NULL
    AND made.valid_from <= $valid_at AND made.known_at <= $known_at
WITH d, r, other, max(made.created_at) AS again_at,
    type(r) = 'PART_OF' AND labels(other)[0] = 'Batch' AND other.read IS NULL AS stored,
    coalesce(other.last_known_at <= $known_at AND other.last_created_at <= $valid_at, false) AS whole_day
WITH d, other, stored, again_at, whole_day,
    CASE WHEN whole_day THEN other.last_created_at ELSE r.created_at END AS made_at
RETURN d.key AS dataset, sum(CASE WHEN stored THEN coalesce(other.batches, 1) ELSE 0 END) AS batches,
    max(CASE WHEN NOT stored THEN null WHEN again_at > made_at THEN again_at ELSE made_at END) AS last_created_us,
    max(CASE WHEN stored AND other.day IS NOT NULL AND NOT whole_day THEN other.day ELSE null END) AS on_day
ORDER BY dataset
