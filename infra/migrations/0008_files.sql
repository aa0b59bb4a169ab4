-- What lies in the folders of pipelines and is not taken, as a listener of each saw it when that last changed. Not
-- proved: it says what is not in the store.
CREATE TABLE store.files_not_taken (
    pipeline text NOT NULL,
    path text NOT NULL,  -- below the folder, bytes that are no UTF-8 as \xfc
    why text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pipeline, path)
);
