-- A drop: a person gives rejected records up. Who and why stands in store.recalls, each record is a row of
-- store.replays whose batch is the act, and the record's resolved_by is the act. Its bytes stay in raw.
ALTER TABLE store.recalls DROP CONSTRAINT recalls_kind_check;
ALTER TABLE store.recalls ADD CONSTRAINT recalls_kind_check
    CHECK (kind IN ('quarantine', 'release', 'reprocess', 'drop'));
ALTER TABLE store.replays DROP CONSTRAINT replays_verdict_check;
ALTER TABLE store.replays ADD CONSTRAINT replays_verdict_check
    CHECK (verdict IN ('accepted', 'duplicate', 'split', 'rejected', 'dropped'));

CREATE VIEW public.drops AS
    SELECT p.identity, r.act, p.rules_before AS rules, r.reason, r.by_whom, r.at
    FROM store.replays p JOIN store.recalls r ON r.act = p.batch WHERE p.verdict = 'dropped';
