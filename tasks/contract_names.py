"""Names that a contract cannot give, because something of that name stands already or will.

A table `t` brings `t_history`, `t_quarantine` and its partitions (`t_20261121`) with it, so no table is named
like one of them; a row brings columns of ours, and Postgres has some of its own.
"""

import re
from typing import Final

LONGEST_TABLE: Final = 49
"""Characters: Postgres cuts names at 63, and the longest we make of it is `NAME_history_batch`."""

OURS: Final = frozenset(
    {"processed_at", "batch", "raw_batch", "sequence", "part", "input_hash", "observed_at"}  # of every row
    | {"replaced_by", "act"}  # of a row in the history, of a key in quarantine
)
POSTGRES: Final = frozenset({"tableoid", "xmin", "xmax", "cmin", "cmax", "ctid"})

TABLES: Final = frozenset(
    {
        "asset_cursors",
        "batch_number",
        "change_marks",
        "change_marks_id_seq",
        "contracts",
        "devices",
        "digest_keys",
        "drops",
        "erasures",
        "files_not_taken",
        "filtered",
        "first_readers",
        "followed_files",
        "identity",
        "imported_events",
        "ledger",
        "ledger_outputs",
        "lineage_log",
        "lineage_seals",
        "lineage_spans",
        "lineage_writers",
        "lineage_writers_writer_seq",
        "listeners",
        "lost_batches",
        "mark_readers",
        "migrations",
        "not_in_graph",
        "progress",
        "proofs",
        "proofs_proof_seq",
        "quarantine",
        "raw_batches",
        "recalls",
        "reigns",
        "reigns_reign_seq",
        "rejected",
        "relay_cursors",
        "replays",
        "sequence_corrections",
        "subjects",
        "transformations",
        "trigger_events",
        "trigger_unacknowledged",
    }
)
"""What the migrations make: every table, view and sequence of the schemas `store` and `public`."""

_MADE: Final = re.compile(r"_(history|quarantine|[0-9]{8})$")


def why_no_column(name: str) -> str | None:
    """Why no column of a contract may have this name; None: it may."""
    if name in OURS:
        return f"{name} is a column of ours that stored rows have: give yours another name"
    if name in POSTGRES:
        return f"{name} is a column that Postgres gives every table: give yours another name"
    return None


def why_no_table(name: str) -> str | None:
    """Why no contract's table may have this name; None: it may."""
    if name in TABLES:
        return f"{name} is a table of ours: give yours another name"
    if name.startswith("pg_"):
        return f"{name} is named like a table of Postgres: begin it otherwise than with pg_"
    if found := _MADE.search(name):
        return (
            f"{name} is named like what is made beside the table {name[: found.start()]}: "
            f"end it otherwise than with {found[0]}"
        )
    if len(name) > LONGEST_TABLE:
        return f"the name of the table has {len(name)} characters: give it {LONGEST_TABLE} at most"
    return None
