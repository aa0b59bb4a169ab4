"""The walk over a plan, from its sources to its output."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from .files import file_uri, ipc_uris, is_ipc
from .model import Subtype
from .naming import mark_of
from .nodes import Visitor, hidden
from .reader import Reader
from .values import Table, column, rows_of


def traverser_of(frame: pl.LazyFrame) -> Any:
    """Polars' own view of a plan as it was written."""
    return frame._ldf.with_optimizations(_AS_WRITTEN).visit()


_AS_WRITTEN = pl.QueryOptFlags.none()._pyoptflags


class Plan:
    """One plan, read with `visitors`; a node without a visitor is hidden."""

    def __init__(self, frame: pl.LazyFrame, traverser: Any, visitors: Mapping[str, Visitor]) -> None:
        self.frame = frame
        self.traverser = traverser
        self.root = traverser.get_node()
        self.reader = Reader(traverser)
        self.visitors = visitors
        self.tables: dict[int, Table] = {}
        self.unnamed = 0

    def output(self) -> Table:
        waiting: list[tuple[int, Any, bool]] = [(self.root, None, False)]
        while waiting:  # not recursive: a plan may be deeper than Python's stack
            number, node, ready = waiting.pop()
            self.traverser.set_node(number)
            if ready:
                self.tables[number] = self.visited(number, node)
            elif number not in self.tables:
                self.open(number, waiting)
        return self.tables[self.root]

    def open(self, number: int, waiting: list[tuple[int, Any, bool]]) -> None:
        """A source is read now; any other node after its inputs."""
        node = self.viewed()
        uri = mark_of(node, self.traverser.view_expression)
        inputs = self.traverser.get_inputs()
        if uri is not None:
            self.reader.last = node.exprs[0].node  # what is below the name is not read
            self.tables[number] = source(uri, list(self.traverser.get_schema())[:-1])
        elif not inputs:
            self.tables[number] = self.leaf(number, node)
        else:
            waiting.append((number, node, True))
            waiting.extend((each, None, False) for each in reversed(inputs))

    def viewed(self) -> Any:
        """The current node; None where Polars does not show it."""
        try:
            return self.traverser.view_current_node()
        except NotImplementedError:
            return None

    def leaf(self, number: int, node: Any) -> Table:
        """Files name themselves; anything else is known by its place in the plan."""
        names = list(self.traverser.get_schema())
        if type(node).__name__ == "Scan":
            options = node.file_options
            made = {options.include_file_paths, options.row_index and options.row_index[0]}
            return source(file_uri(node.paths), names, made)
        if node is None and is_ipc(self.traverser):
            uri = ipc_uris(self.frame, self.traverser, self.root).get(number)
            if uri is not None:
                return source(uri, names)
        self.unnamed += 1
        return source(f"memory:{self.unnamed}", names)

    def visited(self, number: int, node: Any) -> Table:
        schema = self.traverser.get_schema()
        inputs = [self.tables[each] for each in self.traverser.get_inputs()]
        visitor = self.visitors.get(type(node).__name__)
        if visitor is None:
            return hidden(inputs, schema)
        try:
            table = visitor(self.reader, node, inputs, schema)
        except (NotImplementedError, AttributeError, LookupError, ValueError):  # not as we know it
            return hidden(inputs, schema)
        if type(node).__name__ != "Sink" and table.columns.keys() != schema.keys():
            return hidden(inputs, schema)
        return table


def source(uri: str, names: list[str], made: "set[str | None] | None" = None) -> Table:
    """A dataset as it is; the columns in `made` come from its rows alone, as row numbers do."""
    columns = {name: column(uri, name) for name in names}
    for name in (made or set()) & columns.keys():
        columns[str(name)] = rows_of([uri], Subtype.TRANSFORMATION)._replace(scalar=False)
    return Table(columns, frozenset([uri]))
