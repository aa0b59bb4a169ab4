// Which columns come from this column, directly or not, by the code in force; by value (direct) or by choice?
// param column: node — a column, e.g. postgres:sensor_readings.dew_point
// Reigns are numbered in the order of the log; those of older entries, without a number, were before.
MATCH (t:Transformation)
OPTIONAL MATCH (t)-[won:SUPERSEDES]->(:Transformation)
WHERE won.valid_from <= $valid_at AND won.known_at <= $known_at
WITH t, max(coalesce(won.reign, won.valid_from - 4611686018427387904)) AS won_at
OPTIONAL MATCH (t)<-[lost:SUPERSEDES]-(:Transformation)
WHERE lost.valid_from <= $valid_at AND lost.known_at <= $known_at
WITH t, won_at, max(coalesce(lost.reign, lost.valid_from - 4611686018427387904)) AS lost_at
WHERE lost_at IS NULL OR won_at > lost_at
WITH collect(t.key) AS in_force
MATCH (n:Column {key: $column})-[derives:DERIVES*]->(other)
WHERE all(r IN derives WHERE r.transformation_id IN in_force
    AND r.valid_from <= $valid_at AND r.known_at <= $known_at)
WITH other, size(derives) AS steps,
    CASE WHEN all(r IN derives WHERE r.direct IS NOT NULL) THEN 1 ELSE 0 END AS valued,
    CASE WHEN any(r IN derives WHERE coalesce(r.opaque, false)) THEN 1 ELSE 0 END AS hidden
WITH other, min(steps) AS steps, max(valued) AS valued, max(hidden) AS hidden
RETURN other.key AS key, labels(other)[0] AS kind, valued = 1 AS direct, hidden = 1 AS opaque, steps
ORDER BY direct DESC, steps, key
