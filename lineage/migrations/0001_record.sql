-- The record: the ledger of commits and the lineage log, written in the same transaction as the rows.
CREATE SCHEMA IF NOT EXISTS store;

-- Which store this is, for what is kept outside of it (anchors).
CREATE TABLE store.identity (id uuid PRIMARY KEY DEFAULT gen_random_uuid());
INSERT INTO store.identity DEFAULT VALUES;

-- Every change of these tables but INSERT is refused: the record is append-only, truly.
CREATE FUNCTION store.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE SEQUENCE store.batch_number AS bigint;

-- A writer is one Postgres connection's lifetime; its entries are numbered from 1 without gaps. `ended_at`
-- is set once its connection is gone and all its entries are sealed, so that nobody looks at it again.
CREATE TABLE store.lineage_writers (
    writer      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    opened_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    application text NOT NULL,
    ended_at    timestamptz
);
CREATE INDEX lineage_writers_open ON store.lineage_writers (writer) WHERE ended_at IS NULL;

CREATE TABLE store.lineage_log (
    writer            bigint NOT NULL,
    number            bigint NOT NULL,
    batch             bigint NOT NULL,
    relationship_type text NOT NULL,
    source_kind       text NOT NULL,
    source_key        text NOT NULL,
    source_facts      json NOT NULL,
    target_kind       text NOT NULL,
    target_key        text NOT NULL,
    target_facts      json NOT NULL,
    transformation_id text,
    run_id            uuid,
    created_at        timestamptz NOT NULL,
    facts             json NOT NULL,
    hash              bytea NOT NULL,
    PRIMARY KEY (writer, number)
);
CREATE INDEX lineage_log_columns ON store.lineage_log (transformation_id) WHERE relationship_type = 'DERIVES';
CREATE INDEX lineage_log_folds ON store.lineage_log (writer, number) WHERE relationship_type = 'FOLDS';
CREATE INDEX lineage_log_batch ON store.lineage_log USING brin (batch);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.lineage_log
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

-- One row per commit; a replay names the batch whose bytes it read again in raw_batch and has no raw_digest.
-- read = accepted + rejected + duplicates + filtered.
CREATE TABLE store.ledger (
    batch             bigint PRIMARY KEY,
    dataset           text NOT NULL,
    position_id       text UNIQUE,
    position          json,
    received_at       timestamptz NOT NULL,
    received_until    timestamptz NOT NULL,
    processed_at      timestamptz NOT NULL,
    read              bigint NOT NULL,
    accepted          bigint NOT NULL,
    rejected          bigint NOT NULL,
    duplicates        bigint NOT NULL,
    filtered          bigint NOT NULL,
    rejected_sum      bigint NOT NULL DEFAULT 0,
    way               text NOT NULL,
    raw_digest        bytea,
    raw_batch         bigint,
    transformation_id text NOT NULL,
    run_id            uuid,
    writer            bigint NOT NULL,
    first_entry       bigint NOT NULL,
    last_entry        bigint NOT NULL,
    chain_head        bytea NOT NULL,
    CONSTRAINT books_balance CHECK (read = accepted + rejected + duplicates + filtered),
    CONSTRAINT replay_has_no_bytes CHECK (raw_batch IS NULL OR raw_digest IS NULL)
);
CREATE INDEX ledger_processed ON store.ledger (processed_at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.ledger
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

-- What each commit put into each table; `bucket` is the hour of an aggregate, null otherwise.
CREATE TABLE store.ledger_outputs (
    batch      bigint NOT NULL,
    table_name text NOT NULL,
    bucket     timestamptz,
    rows       bigint NOT NULL,
    values_sum bigint NOT NULL
);
CREATE INDEX ledger_outputs_batch ON store.ledger_outputs (batch);
CREATE INDEX ledger_outputs_bucket ON store.ledger_outputs (table_name, bucket, batch) WHERE bucket IS NOT NULL;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.ledger_outputs
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

-- The ends of what is known: an entry is known from its seal on. A seal's hash covers the seal before it, its
-- time, its spans, `digest`, that of the graph its entries make, and `books`, that of the ledger rows and outputs
-- of its batches. `total`: entries of all seals up to it.
CREATE TABLE store.lineage_seals (
    seal      bigint PRIMARY KEY,
    sealed_at timestamptz NOT NULL UNIQUE,
    entries   integer NOT NULL,
    total     bigint NOT NULL,
    digest    bytea NOT NULL,
    books     bytea NOT NULL,
    hash      bytea NOT NULL
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.lineage_seals
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

-- Which entries of which writer a seal adds, and the hash of the last of them.
CREATE TABLE store.lineage_spans (
    seal   bigint NOT NULL,
    writer bigint NOT NULL,
    first  bigint NOT NULL,
    last   bigint NOT NULL,
    head   bytea NOT NULL,
    PRIMARY KEY (seal, writer)
);
CREATE UNIQUE INDEX lineage_spans_writer ON store.lineage_spans (writer, last);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.lineage_spans
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

-- The versions of transformations whose column edges stand in the log, once for each dataset they read and write.
CREATE TABLE store.transformations (
    transformation_id text NOT NULL,
    source            text NOT NULL,
    target            text NOT NULL,
    name              text NOT NULL,
    batch             bigint NOT NULL,
    PRIMARY KEY (transformation_id, source, target)
);

-- Which version of each transformation was in force when: the newest row of a name is the present.
CREATE TABLE store.reigns (
    reign             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name              text NOT NULL,
    transformation_id text NOT NULL,
    batch             bigint NOT NULL,
    since             timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX reigns_name ON store.reigns (name, reign);

-- How far each sink has carried the seals.
CREATE TABLE store.relay_cursors (
    sink text PRIMARY KEY,
    seal bigint NOT NULL,
    at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What was proved, so that the next proof goes on from there: seals after `after` up to `seal`.
CREATE TABLE store.proofs (
    proof       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    proved_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    after       bigint NOT NULL,
    seal        bigint NOT NULL,
    differences bigint NOT NULL,
    digest      bytea NOT NULL
);

CREATE VIEW public.ledger AS SELECT * FROM store.ledger;
CREATE VIEW public.ledger_outputs AS SELECT * FROM store.ledger_outputs;
CREATE VIEW public.lineage_log AS SELECT * FROM store.lineage_log;
