-- What a batch's values were looked up in beside its messages: of each dataset a digest of the state that it had, as JSON
-- (`tasks/transform/transforms.py`). Null: not known. The books of a seal leave nulls out, so no digest of before changes.
ALTER TABLE store.ledger ADD COLUMN looked_up json;
CREATE OR REPLACE VIEW public.ledger AS SELECT * FROM store.ledger;
