// How fresh is each dataset: when was its last batch made, and when was that known?
MATCH (d:Dataset)<-[part:PART_OF]-(:Batch)
WHERE part.valid_from <= $valid_at AND part.known_at <= $known_at
RETURN d.key AS dataset, max(part.created_at) AS last_created_us, max(part.known_at) AS last_known_us
ORDER BY last_created_us, dataset
