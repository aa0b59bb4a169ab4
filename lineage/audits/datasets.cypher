// Which datasets are there, how many batches has each, and when did the last one come?
MATCH (d:Dataset)
OPTIONAL MATCH (d)<-[part:PART_OF]-(b:Batch)
WHERE part.valid_from <= $valid_at AND part.known_at <= $known_at
RETURN d.key AS dataset, count(b) AS batches, max(part.created_at) AS last_created_us
ORDER BY dataset
