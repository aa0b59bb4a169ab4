-- How a commit's rows and rejected records are digested. Version 2: each table's rows, or those of an hour of an
-- aggregate, as one HMAC-SHA256 (lineage/row_digest.py), rejected records by keyed hashes (lineage/keyed_hash.py).
-- `digest_version` null: by sums of row hashes, which find accidents but no forger. `digest_key` names the key, which is
-- kept outside Postgres; null: none.
ALTER TABLE store.ledger ADD COLUMN digest_version smallint, ADD COLUMN digest_key text;
-- `columns` names the columns that the digest covers (`row_digest.columns_id`): those of a version of the contract.
ALTER TABLE store.ledger_outputs
    ALTER COLUMN values_sum DROP NOT NULL,
    ADD COLUMN digest  bytea,
    ADD COLUMN columns text,
    ADD CONSTRAINT one_digest CHECK (
        (digest IS NULL) = (values_sum IS NOT NULL) AND (digest IS NULL) = (columns IS NULL)
    );
CREATE OR REPLACE VIEW public.ledger AS SELECT * FROM store.ledger;
CREATE OR REPLACE VIEW public.ledger_outputs AS SELECT * FROM store.ledger_outputs;

-- The keys that digests were made with, by name: a host that lacks them is told so before it makes one of its own.
CREATE TABLE store.digest_keys (
    id         text PRIMARY KEY,
    first_used timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.digest_keys
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();
