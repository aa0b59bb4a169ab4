-- How far the asset events of an orchestrator were captured, by the time they occurred.
CREATE TABLE store.asset_cursors (
    source   text PRIMARY KEY,
    occurred timestamptz NOT NULL
);

-- What a run has materialized, asked for by dataset.
CREATE INDEX ledger_assets ON store.ledger (run_id, dataset, batch) WHERE way = 'asset';

-- Which column lineage was recorded of which transformation, so that the log says it once.
CREATE TABLE store.recorded_columns (
    transformation_id text NOT NULL,
    digest            bytea NOT NULL,
    PRIMARY KEY (transformation_id, digest)
);
