"""The schema itself: what nobody made, and what was taken away or put in the place of what was made.

A row that is stored and that no view shows is lost to whoever asks, and what refuses a change can be switched
off. So tables, columns, triggers, the function behind them, views, rules and row security are what migrations
and contracts make.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from .. import query_files
from ..identifiers import listed, published_view
from ..ports import Connection
from ..stored import TableShape, published, shown

COLUMNS: Mapping[str, str] = {
    "asset_cursors": "source occurred",
    "change_marks": "id table_name bucket batch reader",
    "contracts": "table_name version hash contract prepared_at",
    "devices": "device_id name model site loaded_at",
    "digest_keys": "id first_used",
    "erasures": "act batch sequence reason by_whom erased_at",
    "files_not_taken": "pipeline path why since",
    "filtered": "identity batch raw_batch sequence part",
    "first_readers": "dataset pipeline since",
    "followed_files": "file pipeline path number inode seen_as begun_at left_at",
    "identity": "id",
    "imported_events": "hash batch place imported_at event run_id happened_at producer job state kept_facets "
    "error first_entry last_entry",
    "ledger": "batch dataset position_id position received_at received_until processed_at read accepted "
    "rejected duplicates filtered rejected_sum way raw_digest raw_batch transformation_id run_id "
    "writer first_entry last_entry chain_head digest_version digest_key pipeline looked_up",
    "ledger_outputs": "batch table_name bucket rows values_sum digest columns",
    "lineage_log": "writer number batch relationship_type source_kind source_key source_facts target_kind "
    "target_key target_facts transformation_id run_id created_at facts hash",
    "lineage_seals": "seal sealed_at entries total digest books hash store",
    "lineage_spans": "seal writer first last head",
    "lineage_writers": "writer opened_at application ended_at",
    "lost_batches": "dataset batch known_at rows position_id found_at",
    "listeners": "client_id pipeline started_at seen_at left_at",
    "mark_readers": "reader table_name bucket registered_at filled_at",
    "migrations": "name checksum applied_at",
    "not_in_graph": "writer number seal reason",
    "progress": "pipeline dataset part mark begun_at advanced_at",
    "proofs": "proof proved_at after seal differences digest",
    "quarantine": "act table_name key batch released",
    "raw_batches": "batch dataset received_at received_until count bytes layout messages digests",
    "recalls": "act kind selection reason by_whom run_id at",
    "reigns": "reign name transformation_id batch",
    "rejected": "identity batch raw_batch sequence part dataset location stage rules error_type message "
    "table_name key input_hash contract rejected_at attempts resolved_by may_pass",
    "relay_cursors": "sink seal at",
    "replays": "identity batch verdict rules_before rules before",
    "sequence_corrections": "at sequence was became application",
    "subjects": "kind id dataset",
    "transformations": "transformation_id source target name batch",
    "trigger_events": "event trigger_name topic key parameters received_at batch flow_run started_by",
    "trigger_unacknowledged": "client_id packet_id digest batch",
}
"""The tables that migrations make, and their columns."""

APPEND_ONLY = (
    *("erasures", "identity", "imported_events", "ledger", "ledger_outputs", "lineage_log", "lineage_seals"),
    *("lineage_spans", "proofs", "quarantine", "recalls", "reigns", "replays", "sequence_corrections"),
    *("transformations", "digest_keys", "first_readers", "lost_batches", "filtered"),
)
"""Those of them where every change but INSERT is refused."""


LATER: Mapping[str, frozenset[str]] = {"rejected": frozenset({"may_pass"})}
"""Columns that came after the view of their table, which does not show them."""


def _shown_of(table: str) -> str:
    columns = [name for name in COLUMNS[table].split() if name not in LATER.get(table, ())]
    return listed(columns) if table == "ledger" else shown(columns)  # a commit of its own bytes replays none


VIEWS: Mapping[str, str] = {
    **{
        name: f"SELECT {_shown_of(name)} FROM store.{name}"
        for name in (
            *("ledger", "ledger_outputs", "lineage_log", "imported_events", "raw_batches"),
            *("erasures", "replays", "devices", "recalls", "quarantine", "rejected"),
            *("sequence_corrections", "lost_batches", "filtered", "trigger_events"),
        )
    },
    "drops": "SELECT p.identity, r.act, p.rules_before AS rules, r.reason, r.by_whom, r.at "
    "FROM store.replays p JOIN store.recalls r ON r.act = p.batch WHERE p.verdict = 'dropped'",
}
"""The views that migrations make."""

FUNCTIONS: Mapping[str, str] = {
    "refuse_change": "BEGIN RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP "
    "USING ERRCODE = 'restrict_violation'; END",
    "whole": "SELECT CASE WHEN fact ~ '^-?[0-9]{1,18}$' THEN fact::bigint END",
}
"""The functions that migrations make: their bodies, in single spaces and without a last semicolon."""

_RELATIONS = query_files.read(__package__, "relations.sql")
_TRIGGERS = query_files.read(__package__, "triggers.sql")
BEFORE_EACH_CHANGE = 2 + 8 + 16 + 32  # before, delete, update, truncate; of the statement (pg_trigger.h)
_FUNCTIONS = """
SELECT p.proname AS name, trim(regexp_replace(p.prosrc, '\\s+', ' ', 'g')) AS body FROM pg_proc p
WHERE p.pronamespace = 'store'::regnamespace ORDER BY 1
"""
_REPLICA = query_files.read(__package__, "replica_roles.sql")
_VIEW = "SELECT pg_get_viewdef(to_regclass($1), true)"
_VIEW_RULES = """
SELECT count(*) FROM pg_rewrite WHERE ev_class = to_regclass($1) AND rulename <> '_RETURN'
"""


async def check_schema(connection: Connection, tables: Mapping[str, TableShape]) -> AsyncIterator[str]:
    """A sentence for each difference; `connection` must be in a transaction in which views can be tried."""
    expected = {name: set(columns.split()) for name, columns in COLUMNS.items()}
    for shape in tables.values():
        expected |= {name: set(columns) for name, columns in shape.stored_columns.items()}
    standing = {row["name"]: row for row in await connection.fetch(_RELATIONS)}
    for name in sorted(expected.keys() - standing.keys()):
        yield f"schema: there is no table {name}"
    for name, row in standing.items():
        if name not in expected:
            yield f"schema: {name} stands in the store, and no migration and no contract makes it"
            continue
        for difference in _unlike(row, expected[name]):
            yield f"schema: {name} {difference}"
    views = {**VIEWS, **{each.name: published(each, _shown(standing, each.name)) for each in tables.values()}}
    for check in (_check_triggers(connection, list(views)), _check_views(connection, views)):
        async for difference in check:
            yield difference


def _unlike(row: Any, expected: set[str]) -> list[str]:
    columns = set(row["columns"])
    found = [f"has a column {name}, which nobody made" for name in sorted(columns - expected)]
    found += [f"has no column {name}" for name in sorted(expected - columns)]
    found += [f"computes its column {name}" for name in row["generated"]]
    found += ["shows some of its rows only: row security is on"] if row["row_security"] else []
    return found + (["has rules, which nobody made"] if row["rules"] else [])


def _shown(standing: Mapping[str, Any], table: str) -> Sequence[str]:
    return standing[table]["columns"] if table in standing else ()


async def _check_triggers(connection: Connection, views: list[str]) -> AsyncIterator[str]:
    refusing = set()
    for row in await connection.fetch(_TRIGGERS, views):
        table, right = row["table_name"], (row["name"], row["type"], row["refuses"])
        if (
            table not in APPEND_ONLY
            or row["schema"] != "store"
            or right != ("append_only", BEFORE_EACH_CHANGE, True)
        ):
            yield f"schema: {table} has a trigger {row['name']}, which nobody made"
        elif row["enabled"] in ("O", "A"):
            refusing.add(table)
    for table in sorted(set(APPEND_ONLY) - refusing):
        yield f"schema: {table} is append-only no more: its trigger is gone or switched off"
    for row in await connection.fetch(_FUNCTIONS):
        if row["name"] not in FUNCTIONS:
            yield f"schema: there is a function {row['name']}, which nobody made"
        elif row["body"].removesuffix(";") != FUNCTIONS[row["name"]]:
            yield f"schema: the function {row['name']} is another one"
    for row in await connection.fetch(_REPLICA):
        yield f"schema: {row['who']} with its triggers off (session_replication_role)"


async def _check_views(connection: Connection, views: Mapping[str, str]) -> AsyncIterator[str]:
    """Each view against the same view made here, so that both are told in the words of this Postgres."""
    for name, query in sorted(views.items()):
        if await connection.fetchval("SELECT to_regclass($1) IS NULL", published_view(name)):
            yield f"schema: there is no view {name}"
            continue
        await connection.execute(f"CREATE TEMP VIEW as_published AS {query}")
        made = await connection.fetchval(_VIEW, "pg_temp.as_published")
        await connection.execute("DROP VIEW pg_temp.as_published")
        if await connection.fetchval(_VIEW, published_view(name)) != made:
            yield f"schema: the view {name} does not show what it was made to show"
        if await connection.fetchval(_VIEW_RULES, published_view(name)):
            yield f"schema: the view {name} has rules, which nobody made"
