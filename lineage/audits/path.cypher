// How does data get from one dataset to another: through which datasets?
// param source: node — a dataset
// param target: node — a dataset
MATCH p = (a:Dataset {key: $source})-[:FEEDS*]->(b:Dataset {key: $target})
WHERE all(r IN relationships(p) WHERE r.valid_from <= $valid_at AND r.known_at <= $known_at)
RETURN [n IN nodes(p) | n.key] AS path, length(p) AS steps
ORDER BY steps, path
