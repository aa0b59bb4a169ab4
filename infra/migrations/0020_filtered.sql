-- Records that a step left out on purpose, each by the first batch that did: what was filtered stays so when it comes
-- again. They point to their bytes as rejected ones do, and `identity` is made as theirs is. The log's entry of a batch
-- (filtered#BATCH) holds a digest of its rows. Append-only: what a reprocess stores later was filtered once all the same.
CREATE TABLE store.filtered (
    identity  bytea PRIMARY KEY,
    batch     bigint NOT NULL,
    raw_batch bigint,
    sequence  integer NOT NULL,
    part      integer
);
CREATE INDEX filtered_batch ON store.filtered (batch);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.filtered
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();
CREATE VIEW public.filtered AS SELECT * FROM store.filtered;

-- Whether anything of a dataset was ever filtered: of most nothing was, and nothing is looked for.
CREATE INDEX ledger_filtered ON store.ledger (dataset) WHERE filtered > 0;

-- A rejected record that passes today, and that a step leaves out.
ALTER TABLE store.replays DROP CONSTRAINT replays_verdict_check;
ALTER TABLE store.replays ADD CONSTRAINT replays_verdict_check
    CHECK (verdict IN ('accepted', 'duplicate', 'filtered', 'split', 'rejected', 'dropped'));
