// What fed this batch or dataset, directly or not?
// param key: node — a batch or dataset, e.g. postgres:sensor_readings#12 or postgres:sensor_readings
// RETURN DISTINCT of properties alone: so both engines visit each node once, however many ways lead to it.
MATCH (n:Batch {key: $key})<-[:FEEDS*]-(other:Batch)
RETURN DISTINCT other.key AS key, other.dataset AS dataset, other.rows AS rows
UNION ALL
MATCH (n:Dataset {key: $key})<-[:FEEDS*]-(other:Dataset)
RETURN DISTINCT other.key AS key, other.key AS dataset, other.rows AS rows
// as of
MATCH (n:Batch {key: $key})<-[feeds:FEEDS*]-(other:Batch)
WHERE all(r IN feeds WHERE r.valid_from <= $valid_at AND r.known_at <= $known_at)
RETURN DISTINCT other.key AS key, other.dataset AS dataset, other.rows AS rows
UNION ALL
MATCH (n:Dataset {key: $key})<-[feeds:FEEDS*]-(other:Dataset)
WHERE all(r IN feeds WHERE r.valid_from <= $valid_at AND r.known_at <= $known_at)
RETURN DISTINCT other.key AS key, other.key AS dataset, other.rows AS rows
