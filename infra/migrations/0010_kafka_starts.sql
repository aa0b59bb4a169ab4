-- Since when a pipeline reads a topic: what `start: latest` begins with is noted once, for all partitions there are.
-- A partition that has no offset and whose pipeline has started is one that came later.
CREATE TABLE store.kafka_starts (
    pipeline   text NOT NULL,
    topic      text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pipeline, topic)
);
INSERT INTO store.kafka_starts (pipeline, topic, started_at)
SELECT pipeline, topic, min(advanced_at) FROM store.kafka_offsets GROUP BY pipeline, topic;
