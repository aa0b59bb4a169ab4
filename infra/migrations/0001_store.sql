-- What is stored beside the curated tables, which are created from their contracts (tasks/load/tables.py).

-- One row per batch: the messages as received (an Arrow IPC file, zstd) and a SHA-256 per message.
CREATE TABLE store.raw_batches (
    batch          bigint PRIMARY KEY,
    dataset        text NOT NULL,
    received_at    timestamptz NOT NULL,
    received_until timestamptz NOT NULL,
    count          integer NOT NULL,
    bytes          bigint NOT NULL,
    messages       bytea NOT NULL,
    digests        bytea NOT NULL
);
ALTER TABLE store.raw_batches ALTER COLUMN messages SET STORAGE EXTERNAL, ALTER COLUMN digests SET STORAGE EXTERNAL;

-- Rejected records point to their bytes in raw_batches; identity is a hash of dataset, location, part and bytes.
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
CREATE INDEX rejected_open ON store.rejected (dataset, rejected_at) WHERE resolved_by IS NULL;

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

-- Which listeners there are, by MQTT client id: the broker keeps a session for each that has not left.
CREATE TABLE store.listeners (
    client_id  text PRIMARY KEY,
    pipeline   text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    left_at    timestamptz
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
CREATE VIEW public.devices AS SELECT * FROM store.devices;
