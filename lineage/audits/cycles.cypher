// Which datasets feed themselves, directly or not, and by which shortest way?
MATCH (d:Dataset)-[:FEEDS]->(d)
RETURN d.key AS dataset, 1 AS steps, [d.key, d.key] AS path
UNION ALL
MATCH (d:Dataset)-[:FEEDS]->(n:Dataset)
WHERE n.key <> d.key
MATCH p = shortestPath((n)-[:FEEDS*]->(d))
WITH d.key AS dataset, [x IN nodes(p) | x.key] AS way
ORDER BY size(way), way
WITH dataset, collect(way)[0] AS way
RETURN dataset AS dataset, size(way) AS steps, [dataset] + way AS path
// as of
MATCH p = (d:Dataset)-[feeds:FEEDS*]->(d)
WHERE all(r IN feeds WHERE r.valid_from <= $valid_at AND r.known_at <= $known_at)
WITH d.key AS dataset, [x IN nodes(p) | x.key] AS way
ORDER BY size(way), way
WITH dataset, collect(way)[0] AS way
RETURN dataset, size(way) - 1 AS steps, way AS path
ORDER BY steps, dataset
