// Which data left the store by a sink, and to where?
MATCH (stored:Dataset)-[feeds:FEEDS]->(sink:Dataset)
WHERE stored.key STARTS WITH 'postgres:' AND NOT sink.key STARTS WITH 'postgres:'
    AND feeds.valid_from <= $valid_at AND feeds.known_at <= $known_at
RETURN stored.key AS dataset, sink.key AS sink, feeds.transformation_id AS transformation,
    feeds.created_at AS first_created_us
ORDER BY dataset, sink
