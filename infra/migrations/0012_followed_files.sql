-- How far each followed file was read: all before byte `next`. A commit advances it from where its batch begins, so that
-- of two listeners one commits and the other begins again from here. A file is known again by `sha256`, of all that was
-- read; where it lies only tells where to look. One that holds other bytes is begun anew, as the next of its path.
CREATE TABLE store.followed_files (
    file        uuid PRIMARY KEY,
    pipeline    text NOT NULL,
    path        text NOT NULL,  -- below the folder, as it was called when it was begun
    number      integer NOT NULL,  -- which one of that path, from 1
    next        bigint NOT NULL,
    line        bigint NOT NULL,  -- that begins there, from 1
    sha256      bytea NOT NULL,
    inode       text NOT NULL,  -- DEVICE:INODE, as last seen
    seen_as     text NOT NULL,  -- as it was last called
    begun_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    advanced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    left_at     timestamptz,  -- it is gone, or was rotated and read to its end
    UNIQUE (pipeline, path, number)
);
CREATE INDEX followed_files_inode ON store.followed_files (pipeline, inode);
CREATE INDEX followed_files_seen_as ON store.followed_files (pipeline, seen_as);
-- A proof looks for the end of each file's last batch, of which there may be 100,000.
CREATE INDEX ledger_followed ON store.ledger ((position ->> 'file'), ((position ->> 'to')::bigint))
    WHERE position ->> 'file' IS NOT NULL;
