-- How far each source that is asked was read: a commit advances the mark from where its batch begins, so that of two
-- readers one commits and the other begins again from here. To read anew, set it back or delete its row.
CREATE TABLE store.progress (
    pipeline    text NOT NULL,
    dataset     text NOT NULL,
    mark        text NOT NULL,
    begun_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    advanced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pipeline, dataset)
);
