"""What a proof does not see: every table and column of the store is proved, or stands here with why.

Proved are all other columns of all tables, those made from contracts too, a row that is missing, and one too
many.
"""

from collections.abc import Mapping

MISSING, EXTRA = "-", "+"
"""What a row that was deleted, or added, is called where a column's name would stand."""

Blind = Mapping[str, Mapping[str, str]]
"""Table → column, MISSING or EXTRA → why it is not proved."""

_PLACE = "a number that only orders"
_CLOCK = "when it was written: nothing is decided by it"

NOT_PROVED: Blind = {
    "asset_cursors": {
        "source": "another one makes the next look begin a week ago; what was taken is not taken again",
        MISSING: "the next look begins a week ago; what was taken is not taken again",
        EXTRA: "nobody reads it",
    },
    "change_marks": {"id": _PLACE, EXTRA: "of a row that is stored: its bucket is made again once more"},
    "contracts": {"prepared_at": _CLOCK + ", but which of two contracts of one version is the newer"},
    "devices": dict.fromkeys(
        ("device_id", "name", "model", "site", "loaded_at", MISSING, EXTRA),
        "a register that people load: what it said of a row when it came is in the row",
    ),
    "digest_keys": dict.fromkeys(
        ("id", "first_used", MISSING, EXTRA),
        "it tells a host that it lacks a key; the ledger names the keys that its digests need",
    ),
    "files_not_taken": dict.fromkeys(
        ("pipeline", "path", "why", "since", MISSING, EXTRA), "it says what is not in the store"
    ),
    "first_readers": dict.fromkeys(
        ("dataset", "pipeline", "since", MISSING, EXTRA),
        "whose rejected records bear no name of their pipeline; the records of before are proved as they are",
    ),
    "followed_files": {
        "number": _PLACE,
        **dict.fromkeys(
            ("inode", "seen_as", "left_at"),
            "where a file is looked for: what is found there is compared with what was read",
        ),
        "begun_at": _CLOCK,
        EXTRA: "a file of which nothing was read",
    },
    "lineage_writers": {
        "opened_at": _CLOCK,
        "application": "which chains a record goes on with; entries on either are proved",
        "ended_at": "only whether, and only where entries are not sealed",
        EXTRA: "a writer that wrote nothing",
    },
    "listeners": dict.fromkeys(
        ("client_id", "pipeline", "started_at", "seen_at", "left_at", MISSING, EXTRA),
        "which sessions a broker should know: what a broker lost is told by it alone",
    ),
    "lost_batches": dict.fromkeys(
        ("dataset", "batch", "known_at", "rows", "position_id", "found_at", MISSING, EXTRA),
        "it says what is not in the store any more",
    ),
    "mark_readers": {
        "registered_at": _CLOCK,
        "filled_at": "without it the derived table is filled again; with it all must be marked or made",
    },
    "migrations": dict.fromkeys(
        ("name", "checksum", "applied_at", MISSING, EXTRA),
        "the schema itself is compared; what prepares the store refuses another checksum",
    ),
    "not_in_graph": dict.fromkeys(
        ("writer", "number", "seal", "reason", MISSING, EXTRA),
        "a proof looks itself which entries no graph can show",
    ),
    "progress": {
        **dict.fromkeys(("begun_at", "advanced_at"), _CLOCK),
        EXTRA: "of a part, where nothing of it was committed: it says where reading will begin",
    },
    "proofs": dict.fromkeys(
        ("proof", "proved_at", "after", "seal", "differences", "digest", MISSING, EXTRA),
        "a list of outcomes that no proof goes by: the anchors say what was proved",
    ),
    "relay_cursors": {"at": _CLOCK},
    "sequence_corrections": dict.fromkeys(
        ("at", "sequence", "was", "became", "application", MISSING, EXTRA), "a list that nothing goes by"
    ),
    "trigger_unacknowledged": dict.fromkeys(
        ("client_id", "packet_id", "digest", "batch", MISSING, EXTRA),
        "which messages a broker may deliver again: what was committed of them stands in the ledger",
    ),
}

ONLY_IN_FULL: Blind = {
    "subjects": {
        EXTRA: "a row says of no batch, and the whole log would have to be read",
    },
}
"""What a full proof sees, and one of what is new does not."""

NOT_OF_ALL: Blind = {
    "change_marks": {
        MISSING: "of a row that was replaced since: the mark of what replaced it is proved",
    },
    "progress": {
        "pipeline": "of a topic of Kafka: of two pipelines the ledger says what one of them read",
        "dataset": "of a file that is followed: its listener sets it again when it starts",
        "mark": "of a topic of Kafka, how it was begun (the part '')",
    },
    "mark_readers": {
        MISSING: "of a derived table without marks that wait: the next refresh fills it from what is stored",
    },
    "reigns": {"reign": "of a name's first version: " + _PLACE},
}
"""What a proof sees of the other rows of the table, and not of these."""


def blind(table: str, what: str, *, full: bool) -> str:
    """Why a proof does not see what was done; empty where it does."""
    why = NOT_PROVED.get(table, {}).get(what, "")
    return why or ("" if full else ONLY_IN_FULL.get(table, {}).get(what, ""))


def as_text() -> str:
    """All three as a table in Markdown, as docs/proof.md shows them."""
    lines = ["| table | not proved | why |", "|---|---|---|"]
    for listed, of in (
        (NOT_PROVED, ""),
        (ONLY_IN_FULL, "by a proof of what is new: "),
        (NOT_OF_ALL, ""),
    ):
        for table, columns in sorted(listed.items()):
            grouped: dict[str, list[str]] = {}
            for what, why in columns.items():
                grouped.setdefault(why, []).append(_NAMES.get(what, f"`{what}`"))
            lines += [f"| `{table}` | {', '.join(named)} | {of}{why} |" for why, named in grouped.items()]
    return "\n".join(lines) + "\n"


_NAMES = {MISSING: "a row that is missing", EXTRA: "a row too many"}
