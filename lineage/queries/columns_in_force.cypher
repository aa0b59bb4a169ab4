// What the columns of the transformations in force come from, at a time.
MATCH (t:Transformation)
OPTIONAL MATCH (t)-[won:SUPERSEDES]->(:Transformation) WHERE won.valid_from <= $at
WITH t, max(coalesce(won.reign, won.valid_from - 4611686018427387904)) AS won_at
OPTIONAL MATCH (t)<-[lost:SUPERSEDES]-(:Transformation) WHERE lost.valid_from <= $at
WITH t, won_at, max(coalesce(lost.reign, lost.valid_from - 4611686018427387904)) AS lost_at
WHERE (lost_at IS NULL OR won_at > lost_at) AND t.key STARTS WITH $prefix
WITH collect(t.key) AS in_force
MATCH (s)-[d:DERIVES]->(t:Column)
WHERE NOT s:Transformation AND d.transformation_id IN in_force AND d.valid_from <= $at
RETURN s.key AS source, t.key AS target, d.direct AS direct, d.indirect AS indirect, d.opaque AS opaque
