// Which stored batches have no producer?
// What a flow only read, and a folded day without a batch, is none.
MATCH (b:Batch)-[part:PART_OF]->(:Dataset)
WHERE (b.dataset STARTS WITH 'postgres:' OR b.dataset IS NULL)
    AND coalesce(b.batches, 1) > 0 AND b.read IS NULL
    AND part.valid_from <= $valid_at AND part.known_at <= $known_at
OPTIONAL MATCH (source:Batch)-[feeds:FEEDS]->(b)
WHERE feeds.known_at <= $known_at
WITH b, count(feeds) AS producers
WHERE producers = 0
RETURN b.key AS key, b.dataset AS dataset, b.number AS number, b.rows AS rows
ORDER BY key
