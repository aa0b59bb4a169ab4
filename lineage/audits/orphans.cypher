// Which stored batches have no producer?
MATCH (b:Batch)
WHERE b.dataset STARTS WITH 'postgres:' OR b.dataset IS NULL
OPTIONAL MATCH (source:Batch)-[feeds:FEEDS]->(b)
WITH b, count(feeds) AS producers
WHERE producers = 0
RETURN b.key AS key, b.dataset AS dataset, b.number AS number, b.rows AS rows
ORDER BY key
