"""Statements that only read: refused when they could write, stopped when they take too long, cut openly.

Not every engine refuses writes in a read session, so nothing that could write is ever sent.
"""

import asyncio
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
# When in doubt it is one: `1.SET` and `n. set` are refused. A carriage return ends a comment, too.
_INERT = re.compile(
    r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:``|[^`])*`|//[^\r\n]*|/\*.*?\*/|(?:(?<!\d)\.|[:$])[A-Za-z_]\w*",
    re.S,
)
_ESCAPE = re.compile(r"\\u", re.IGNORECASE)  # Neo4j replaces these before it reads the text, also in strings
_WRITES = re.compile(
    r"\b(CREATE|MERGE|SET|DELETE|DETACH|REMOVE|DROP|ALTER|FOREACH|LOAD|GRANT|REVOKE|DENY|USE|START|STOP|"
    r"INSERT|TRUNCATE|UPDATE)\b|\bCALL\s*(?![\s({])|\bIN\s+(?:\S+\s+)?TRANSACTIONS\b",
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
    """Raise QueryError for a query with a clause that writes or calls a procedure; `what` it is called."""
    found = _ESCAPE.search(query) or _WRITES.search(_INERT.sub(" x ", query))
    if found is not None:
        raise QueryError(f"{what} was not run: {found[0].strip().upper()} may write, and it may only read.")


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
    refuse_writes(what, query)
    columns: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = []
    total = 0
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
