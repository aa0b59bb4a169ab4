-- What is stored beside the curated tables, which are created from their contracts (tasks/tables/tables.py).

-- One row per batch: the messages as received (an Arrow IPC file, zstd) and a SHA-256 per message. `layout` says how
-- records stand in a message that holds many (a part of a file); null: each message is one record.
CREATE TABLE store.raw_batches (
    batch          bigint PRIMARY KEY,
    dataset        text NOT NULL,
    received_at    timestamptz NOT NULL,
    received_until timestamptz NOT NULL,
    count          integer NOT NULL,
    bytes          bigint NOT NULL,
    layout         json,
    messages       bytea NOT NULL,
    digests        bytea NOT NULL
);
ALTER TABLE store.raw_batches ALTER COLUMN messages SET STORAGE EXTERNAL, ALTER COLUMN digests SET STORAGE EXTERNAL;

-- Rejected records point to their bytes in raw_batches (by raw_batch, null: batch); identity is a hash of dataset,
-- location, part and bytes. `batch` is the first that rejected it and never changes; replays change the verdict.
CREATE TABLE store.rejected (
    identity    bytea PRIMARY KEY,
    batch       bigint NOT NULL,
    raw_batch   bigint,
    sequence    integer NOT NULL,
    part        integer,
    dataset     text NOT NULL,
    location    text,
    stage       text NOT NULL,
    rules       text[] NOT NULL,
    error_type  text NOT NULL,
    message     text NOT NULL,
    table_name  text,
    key         text,
    input_hash  bigint,
    contract    integer NOT NULL,
    rejected_at timestamptz NOT NULL,
    attempts    integer NOT NULL DEFAULT 1,
    resolved_by bigint
);
CREATE INDEX rejected_batch ON store.rejected (batch);
CREATE INDEX rejected_raw_batch ON store.rejected (raw_batch) WHERE raw_batch IS NOT NULL;
CREATE INDEX rejected_open ON store.rejected (dataset, rejected_at) WHERE resolved_by IS NULL;
-- Those that would pass if they came again: their time has come, or Postgres takes today what it refused.
CREATE INDEX rejected_passing ON store.rejected (dataset, location)
    WHERE resolved_by IS NULL AND rules && '{timestamp.furthest,load.refused}';

-- The messages that were erased on purpose, each by a row: a message that is null and not here was tampered with.
-- `act` is a batch number of the ledger; its entry in the lineage log says which messages.
CREATE TABLE store.erasures (
    act       bigint NOT NULL,
    batch     bigint NOT NULL,
    sequence  integer NOT NULL,
    reason    text NOT NULL,
    by_whom   text NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (batch, sequence)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.erasures
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

-- What replays said of rejected records, one row per record and replay; append-only. A record's `attempts` is
-- 1 + its rows here of verdict `rejected`; its `resolved_by` is the batch of the last one, unless that one is `rejected`.
-- `before`: the hash of the record (lineage/rejected.py) as it was before it was rejected again.
CREATE TABLE store.replays (
    identity     bytea NOT NULL,
    batch        bigint NOT NULL,
    verdict      text NOT NULL CHECK (verdict IN ('accepted', 'duplicate', 'split', 'rejected')),
    rules_before text[] NOT NULL,
    rules        text[],
    before       bigint,
    PRIMARY KEY (identity, batch),
    CHECK ((verdict = 'rejected') = (rules IS NOT NULL)),
    CHECK ((verdict = 'rejected') = (before IS NOT NULL))
);
CREATE INDEX replays_batch ON store.replays (batch);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.replays
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

-- The device register, loaded by `headwater devices load`.
CREATE TABLE store.devices (
    device_id text PRIMARY KEY,
    name      text,
    model     text,
    site      text,
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Which devices and experiments each dataset is about, so that the log says it once.
CREATE TABLE store.subjects (
    kind    text NOT NULL,
    id      text NOT NULL,
    dataset text NOT NULL,
    PRIMARY KEY (kind, id, dataset)
);

-- The hours each batch changed, consumed by id when the hour is recomputed. An upserted "dirty" flag loses
-- rows when refresh and ingest interleave; a row per (batch, hour) does not.
CREATE TABLE store.change_marks (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name text NOT NULL,
    hour       timestamptz NOT NULL,
    batch      bigint NOT NULL
);
CREATE INDEX change_marks_hour ON store.change_marks (table_name, hour);

-- Which listeners there are, by MQTT client id: the broker keeps a session for each that has not left.
CREATE TABLE store.listeners (
    client_id  text PRIMARY KEY,
    pipeline   text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    left_at    timestamptz
);

-- How far each pipeline has read each partition: the offset that comes next. A commit advances it from where its batch
-- begins, so that of two consumers one commits and the other starts again from here.
CREATE TABLE store.kafka_offsets (
    pipeline    text NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next        bigint NOT NULL,
    advanced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pipeline, topic, partition)
);

-- Which contract each table was last prepared for.
CREATE TABLE store.contracts (
    table_name  text NOT NULL,
    version     integer NOT NULL,
    hash        text NOT NULL,
    contract    json NOT NULL,
    prepared_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_name, hash)
);

CREATE VIEW public.raw_batches AS SELECT * FROM store.raw_batches;
CREATE VIEW public.rejected AS SELECT * FROM store.rejected;
CREATE VIEW public.erasures AS SELECT * FROM store.erasures;
CREATE VIEW public.replays AS SELECT * FROM store.replays;
CREATE VIEW public.devices AS SELECT * FROM store.devices;
