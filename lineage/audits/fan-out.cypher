// Which batches or datasets feed the most others directly?
// param least: integer = 2 — how many at least
MATCH (n)-[feeds:FEEDS]->(m)
WHERE feeds.valid_from <= $valid_at AND feeds.known_at <= $known_at
WITH n, count(DISTINCT m) AS targets
WHERE targets >= $least
RETURN labels(n)[0] AS kind, n.key AS key, targets
ORDER BY targets DESC, key
