// What fed this batch or dataset, directly or not?
// param key: string — a batch or dataset, e.g. postgres:sensor_readings#12 or postgres:sensor_readings
// param depth: integer = 20 — how many steps back at most (1 to 50)
MATCH p = (n:Batch {key: $key})<-[:FEEDS*1..50]-(source:Batch)
WHERE length(p) <= $depth
WITH source, min(length(p)) AS steps
RETURN source.key AS key, 'Batch' AS kind, source.dataset AS dataset, source.rows AS rows, steps
ORDER BY steps, key
UNION ALL
MATCH p = (n:Dataset {key: $key})<-[:FEEDS*1..50]-(source:Dataset)
WHERE length(p) <= $depth
WITH source, min(length(p)) AS steps
RETURN source.key AS key, 'Dataset' AS kind, source.key AS dataset, null AS rows, steps
ORDER BY steps, key
