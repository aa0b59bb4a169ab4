// Which versions of which code made this batch or dataset, since when, and are they in force?
// param key: node — a batch or dataset
MATCH (n {key: $key})<-[made:FEEDS]-()
WHERE made.valid_from <= $valid_at AND made.known_at <= $known_at AND made.transformation_id IS NOT NULL
WITH made.transformation_id AS transformation, min(made.created_at) AS first_created_us, count(made) AS edges
OPTIONAL MATCH (:Transformation {key: transformation})<-[lost:SUPERSEDES]-(next:Transformation)
WHERE lost.valid_from <= $valid_at AND lost.known_at <= $known_at
RETURN transformation, first_created_us, edges, collect(DISTINCT next.key) AS superseded_by
ORDER BY first_created_us, transformation
