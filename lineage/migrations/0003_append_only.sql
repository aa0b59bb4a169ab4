-- What is decided from is append-only too, and a full proof compares the first two with the log. `since` was read
-- by nothing and could be compared with nothing: the log's SUPERSEDES says when.
ALTER TABLE store.reigns DROP COLUMN since;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.transformations
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.reigns
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.proofs
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();
