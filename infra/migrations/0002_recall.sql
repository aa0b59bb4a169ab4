-- Recalls: rows taken out of what people query, put back, or made again from raw. A table's rows that are out
-- stand in store.NAME_quarantine (tasks/tables/tables.py); these two tables say who did it and why. Append-only.
-- `act` is a batch number; of a quarantine or a release it stands in the ledger, the batches of a reprocess have
-- its run_id.
CREATE TABLE store.recalls (
    act       bigint PRIMARY KEY,
    kind      text NOT NULL CHECK (kind IN ('quarantine', 'release', 'reprocess')),
    selection json NOT NULL,
    reason    text NOT NULL,
    by_whom   text NOT NULL,
    run_id    uuid NOT NULL,
    at        timestamptz NOT NULL
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.recalls
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

-- One row per row that was taken out or put back: its key (canonical JSON) and the batch it stood in then.
CREATE TABLE store.quarantine (
    act        bigint NOT NULL REFERENCES store.recalls,
    table_name text NOT NULL,
    key        text NOT NULL,
    batch      bigint NOT NULL,
    released   boolean NOT NULL,
    PRIMARY KEY (act, key)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.quarantine
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

-- What a recall asks of the ledger: which commits read a raw batch again, and which a version made.
CREATE INDEX ledger_raw_batch ON store.ledger (raw_batch) WHERE raw_batch IS NOT NULL;
CREATE INDEX ledger_transformation ON store.ledger (transformation_id);

CREATE VIEW public.recalls AS SELECT * FROM store.recalls;
CREATE VIEW public.quarantine AS SELECT * FROM store.quarantine;
