// How many records of each source were rejected, in how many batches?
MATCH (source:Batch)-[:FEEDS]->(raw:Batch)-[feeds:FEEDS]->(rejected:Batch)
WHERE rejected.dataset = 'postgres:rejected' AND feeds.valid_from <= $valid_at AND feeds.known_at <= $known_at
RETURN source.dataset AS source, count(rejected) AS batches, sum(rejected.rows) AS records
ORDER BY records DESC, source
