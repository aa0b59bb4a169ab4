-- Entries of the log that the graph cannot show, each with the reason, as the relay found them when it carried
-- their seal: see lineage/form.py. Emptied with the relay's cursor, and filled again as the record is carried again.
CREATE TABLE store.not_in_graph (
    writer bigint NOT NULL,
    number bigint NOT NULL,
    seal   bigint NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (writer, number)
);

-- A fact as an integer; null for what is none, as others may once have told of their batches.
CREATE FUNCTION store.whole(fact text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN fact ~ '^-?[0-9]{1,18}$' THEN fact::bigint END
$$;
