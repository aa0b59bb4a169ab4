-- The events of triggers: messages that start a flow run each, and which one it is once it is started. The message is
-- in store.raw_batches under `batch`. `key`: canonical JSON of what makes the event unique within trigger and topic; then
-- `event` is made of the three. `started_by`: the commit that recorded the flow run.
CREATE TABLE store.trigger_events (
    event        uuid PRIMARY KEY,
    trigger_name text NOT NULL,
    topic        text NOT NULL,
    key          text,
    parameters   json NOT NULL,
    received_at  timestamptz NOT NULL,
    batch        bigint NOT NULL UNIQUE,
    flow_run     uuid,
    started_by   bigint UNIQUE,
    CONSTRAINT started_or_not CHECK ((flow_run IS NULL) = (started_by IS NULL))
);
CREATE INDEX trigger_events_waiting ON store.trigger_events (trigger_name, batch) WHERE flow_run IS NULL;

-- What was committed of triggers' messages and is not known to be acknowledged: a broker that delivers one of them again
-- marks it (DUP) and gives it the same packet id.
CREATE TABLE store.trigger_unacknowledged (
    client_id text NOT NULL,
    packet_id integer NOT NULL,
    digest    bytea NOT NULL,
    batch     bigint NOT NULL,
    PRIMARY KEY (client_id, packet_id)
);

CREATE VIEW public.trigger_events AS SELECT * FROM store.trigger_events;
