// What was made from this batch or dataset, directly or not?
// param key: string — a batch or dataset, e.g. mqtt:sensors/+/readings#12 or postgres:sensor_readings
// param depth: integer = 20 — how many steps on at most (1 to 50)
MATCH p = (n:Batch {key: $key})-[:FEEDS*1..50]->(target:Batch)
WHERE length(p) <= $depth
WITH target, min(length(p)) AS steps
RETURN target.key AS key, 'Batch' AS kind, target.dataset AS dataset, target.rows AS rows, steps
ORDER BY steps, key
UNION ALL
MATCH p = (n:Dataset {key: $key})-[:FEEDS*1..50]->(target:Dataset)
WHERE length(p) <= $depth
WITH target, min(length(p)) AS steps
RETURN target.key AS key, 'Dataset' AS kind, target.key AS dataset, null AS rows, steps
ORDER BY steps, key
