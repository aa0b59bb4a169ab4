-- A sequence that was behind what is stored, as after a failover or a restore, and was set right: when and by whom.
-- `was`: the last number it had given; `became`: the highest that stood in the tables.
CREATE TABLE store.sequence_corrections (
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    sequence    text NOT NULL,
    was         bigint NOT NULL,
    became      bigint NOT NULL,
    application text NOT NULL DEFAULT current_setting('application_name')
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.sequence_corrections
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

CREATE VIEW public.sequence_corrections AS SELECT * FROM store.sequence_corrections;
