"""Statements that only read: refused when they could do more, stopped when they take too long, cut openly.

A statement is sent when it begins, and every part of a UNION begins, with a clause that reads (`_READS`),
when no word in it could write, load or call a procedure, and when it is one statement whose end of lines
every engine sees at the same place. What the engine then says of it counts too: Neo4j refuses to write in a
session that reads, and what either calls a write is rolled back (`bolt.py`).
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from .errors import QueryError
from .ports import Graph

Value = str | int | float | bool
"""Of a parameter; values travel as parameters, never inside the text."""

LIMIT = 1_000
"""Rows of an answer, unless another limit is given."""
TIMEOUT = 60.0
"""Seconds a statement may take, unless another time is given."""

# Strings, quoted names and comments, then names that are a property, a label or a parameter: no clauses.
# When in doubt it is one: `1.SET` and `n. set` are refused.
_INERT = re.compile(
    r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:``|[^`])*`|//[^\n]*|/\*.*?\*/|(?:(?<!\d)\.|[:$])[A-Za-z_]\w*",
    re.S,
)
_ESCAPE = re.compile(r"\\u", re.IGNORECASE)  # Neo4j replaces these before it reads the text, also in strings
# What ends a line, and so a comment, on one engine and not on another, or is read as nothing at all.
_HIDDEN = re.compile(r"\r(?!\n)|[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff]")
_READS = ("MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN", "CALL")
_BEGINS = re.compile(r"(?:\A|\bUNION(?:\s+(?:ALL|DISTINCT))?\b)\s*([A-Za-z]*)", re.IGNORECASE)
_WRITES = re.compile(
    r"\b(CREATE|MERGE|SET|DELETE|DETACH|REMOVE|DROP|ALTER|FOREACH|LOAD|GRANT|REVOKE|DENY|USE|START|STOP|"
    r"INSERT|TRUNCATE|UPDATE|TERMINATE)\b|\bCALL\s*(?![\s({])|"
    r"\bIN\s+(?:\S+\s+){0,2}TRANSACTIONS\b",
    re.IGNORECASE,
)

_NESTED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}")
_RETURN = re.compile(
    r"\bRETURN\s+(?:DISTINCT\s+)?(.*?)(?:\bORDER\s+BY\b|\bUNION\b|\bLIMIT\b|\bSKIP\b|\Z)", re.S | re.I
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows in the order of `columns`; when `cut`, there are `total` and only the first are here."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: int
    cut: bool


def refuse_writes(what: str, query: str) -> None:
    """Raise QueryError for a statement that may do anything but read; `what` it is called."""
    if reason := _reason(query):
        raise QueryError(f"{what} was not run: {reason}, and it may only read.")


def _reason(query: str) -> str | None:
    if hidden := _HIDDEN.search(query) or _ESCAPE.search(query):
        return f"{hidden[0]!a} in it may hide a clause"
    text = _INERT.sub(_marked, query).strip()
    if ";" in text.removesuffix(";"):
        return "it is more than one statement"
    for first in _BEGINS.finditer(text):
        if first[1].upper() not in _READS:
            return f"{first[1].upper() or 'it'} is no clause that reads ({', '.join(_READS)})"
    found = _WRITES.search(text)
    return f"{found[0].strip().upper()} may write, load or call" if found else None


def _marked(inert: re.Match[str]) -> str:
    """What stands for a part that has no clauses."""
    return " " if inert[0].startswith("/") else " x "


async def run(
    graph: Graph,
    what: str,
    query: str,
    values: Mapping[str, Value],
    *,
    limit: int = LIMIT,
    seconds: float = TIMEOUT,
) -> Answer:
    """Run a read-only statement, an audit's or a person's own (`what`), for so many `seconds` at most.

    Raises QueryError if it could write, or takes longer.
    """
    import asyncio  # here: who lists the audits waits for nothing

    refuse_writes(what, query)
    columns: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = []
    total = 0
    query = query.rstrip().removesuffix(";")
    try:
        async with asyncio.timeout(seconds), aclosing(graph.stream(query, values, seconds)) as answers:
            async for row in answers:
                total += 1
                columns = columns or tuple(row)
                if len(rows) < limit:
                    rows.append(tuple(row[name] for name in columns))
    except TimeoutError as error:
        raise QueryError(f"{what} took longer than {seconds:g} s and was stopped.") from error
    return Answer(columns or _columns(query), tuple(rows), total, total > len(rows))


async def run_whole(
    graph: Graph, what: str, query: str, values: Mapping[str, Value], *, limit: int = LIMIT
) -> Answer:
    """Like `run`, with the answer of the engine as one row: how many rows it has, and the first of them.

    A row of its own costs the driver ten times what an element of a list does. Where the names of the columns
    cannot be read from the statement, it is `run`.
    """
    columns = _columns(query)
    if not all(name.isidentifier() for name in columns):
        return await run(graph, what, query, values, limit=limit)
    counted = (
        f"CALL {{\n{query}\n}} WITH collect([{', '.join(columns)}]) AS found "
        "RETURN size(found) AS total, found[..$rows_kept] AS rows"
    )
    answer = await run(graph, what, counted, {**values, "rows_kept": limit})
    total, rows = answer.rows[0]
    return Answer(columns, tuple(map(tuple, rows)), total, total > len(rows))


def _columns(query: str) -> tuple[str, ...]:
    """The names after the first RETURN that is not inside brackets."""
    text, nested = _INERT.sub(_shown, query), 1
    while nested:
        text, nested = _NESTED.subn("_", text)
    found = _RETURN.search(text)
    parts: Sequence[str] = found[1].split(",") if found else ()
    return tuple(re.split(r"\s+AS\s+", part.strip(), flags=re.I)[-1] for part in parts)


def _shown(inert: re.Match[str]) -> str:
    """What is seen of a part that has no clauses: names whole, a string as a mark, a comment not at all."""
    text = inert[0]
    return " " if text.startswith("/") else "_" if text[0] in "'\"" else text
