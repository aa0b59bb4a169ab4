// Which datasets feed themselves, directly or not?
// param longest: integer = 10 — steps of a cycle at most (1 to 10)
MATCH p = (d:Dataset)-[:FEEDS*1..10]->(d)
WHERE all(r IN relationships(p) WHERE r.valid_from <= $valid_at AND r.known_at <= $known_at)
WITH p, d, length(p) AS steps
WHERE steps <= $longest
RETURN d.key AS dataset, steps, [n IN nodes(p) | n.key] AS path
ORDER BY steps, dataset
