-- Which raw batch holds a record's bytes, where people ask: stored it is null for the record's own batch.
CREATE OR REPLACE VIEW public.rejected AS
SELECT identity, batch, coalesce(raw_batch, batch) AS raw_batch, sequence, part, dataset, location, stage, rules,
    error_type, message, table_name, key, input_hash, contract, rejected_at, attempts, resolved_by
FROM store.rejected;
CREATE OR REPLACE VIEW public.filtered AS
SELECT identity, batch, coalesce(raw_batch, batch) AS raw_batch, sequence, part FROM store.filtered;
