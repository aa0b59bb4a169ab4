-- How far the asset events of an orchestrator were captured, by the time they occurred.
CREATE TABLE store.asset_cursors (
    source   text PRIMARY KEY,
    occurred timestamptz NOT NULL
);

-- What a run has materialized, asked for by dataset.
CREATE INDEX ledger_assets ON store.ledger (run_id, dataset, batch) WHERE way = 'asset';
