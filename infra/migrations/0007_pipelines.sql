-- Which pipeline read a batch, or read it again: two may read one dataset. Null: committed before this was written
-- down, or by no pipeline. The books of a seal leave nulls out, so no digest of before changes.
ALTER TABLE store.ledger ADD COLUMN pipeline text;
CREATE OR REPLACE VIEW public.ledger AS SELECT * FROM store.ledger;

-- The pipeline that first brought records of a dataset. Of any other one the identity of a rejected record holds its
-- name too: the same record, rejected by both, waits for both.
CREATE TABLE store.first_readers (
    dataset  text PRIMARY KEY,
    pipeline text NOT NULL,
    since    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.first_readers
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

-- How many records of each dataset wait, and of which batches, from the index alone.
CREATE INDEX rejected_waiting ON store.rejected (dataset, batch) WHERE resolved_by IS NULL;
