-- What the graph knew and the log does not have: the log was restored from a backup, or its end was cut off. The relay
-- writes it down before it empties the graph. `known_at`: the time of the seal that is gone.
CREATE TABLE store.lost_batches (
    dataset     text NOT NULL,
    batch       text NOT NULL,
    known_at    timestamptz NOT NULL,
    rows        bigint,
    position_id text,
    found_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (batch, known_at)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.lost_batches
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

-- Acts that accept a restore; every proof looks for them.
CREATE INDEX ledger_restores ON store.ledger (batch) WHERE way = 'restore';

CREATE VIEW public.lost_batches AS SELECT * FROM store.lost_batches;
