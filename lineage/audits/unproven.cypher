// Which batches became known after a proof, so that it says nothing of them?
// param proved: moment — when the proof was made
MATCH (b:Batch)-[part:PART_OF]->(d:Dataset)
WHERE part.known_at > $proved AND part.known_at <= $known_at AND part.valid_from <= $valid_at
    AND coalesce(b.batches, 1) > 0 AND b.read IS NULL
RETURN d.key AS dataset, sum(coalesce(b.batches, 1)) AS batches, min(part.known_at) AS first_known_us
ORDER BY dataset
