-- Events of others (OpenLineage), by the SHA-256 of their bytes: the same event twice is one row.
-- Its entries in the lineage log are first_entry to last_entry of its batch's writer (none: last = first - 1);
-- an event that could not be read has an error instead, and stays too.
CREATE TABLE store.imported_events (
    hash        bytea PRIMARY KEY,
    batch       bigint NOT NULL,
    place       integer NOT NULL,
    imported_at timestamptz NOT NULL,
    event       bytea NOT NULL,
    run_id      uuid,
    happened_at timestamptz,
    producer    text,
    job         text,
    state       text,
    kept_facets json NOT NULL,
    error       text,
    first_entry bigint NOT NULL,
    last_entry  bigint NOT NULL,
    CHECK (octet_length(hash) = 32)
);
CREATE INDEX imported_events_run ON store.imported_events (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX imported_events_batch ON store.imported_events (batch, place);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.imported_events
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

CREATE VIEW public.imported_events AS SELECT * FROM store.imported_events;
