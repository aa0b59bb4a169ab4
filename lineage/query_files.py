"""Queries in files of their own, in `queries/` beside who asks; the first line of each says what it asks."""

from functools import cache
from importlib import resources


@cache
def read(package: str | None, name: str) -> str:
    """The text of a package's query (its name with its ending), without the first line."""
    assert package, "a query belongs to a package"  # noqa: S101 - who asks passes __package__
    text = (resources.files(package) / "queries" / name).read_text(encoding="utf-8")
    return text.partition("\n")[2]
