"""Names in SQL, always quoted: `order`, `user` or `limit` is the name of a table or column like any other.

Every statement that names a contract's table or column takes the name from here.
"""

from collections.abc import Iterable


def quoted(name: str) -> str:
    """One identifier: `"order"`."""
    return '"' + name.replace('"', '""') + '"'


def stored_table(table: str) -> str:
    """A table where its rows are kept: `store."order"`."""
    return f"store.{quoted(table)}"


def published_view(table: str) -> str:
    """The view of it that people query: `public."order"`."""
    return f"public.{quoted(table)}"


def column_of(relation: str, name: str) -> str:
    """A column of a relation of the statement: `s."user"`."""
    return f"{relation}.{quoted(name)}"


def listed(names: Iterable[str], relation: str | None = None) -> str:
    """Columns as a list: `"user", "limit"`, or `s."user", s."limit"`."""
    return ", ".join(quoted(name) if relation is None else column_of(relation, name) for name in names)


def literal(text: str) -> str:
    """A text as a constant of the statement."""
    return "'" + text.replace("'", "''") + "'"
