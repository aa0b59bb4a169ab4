"""Column lineage of an aggregate's SELECT: which columns of which tables each output is computed from.

The statement is parsed by sqlglot, never matched by hand. What decides about rows (WHERE, ON, GROUP BY,
DISTINCT ON, ORDER BY) reaches every output.
"""

from collections.abc import Iterable, Iterator, Mapping

import sqlglot
from sqlglot import exp
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify

from lineage import naming
from lineage.columns import ColumnEdge, Kind, Subtype
from lineage.errors import ContractError

DIALECT = "postgres"
Source = tuple[str, str | None]
"""A dataset and its column, None where only its rows count."""
Schema = dict[str, object]
"""Table → column → type."""

_CLAUSES: tuple[tuple[type[exp.Expression], Subtype], ...] = (
    (exp.Where, Subtype.FILTER),
    (exp.Join, Subtype.JOIN),
    (exp.Group, Subtype.GROUP_BY),
    (exp.Distinct, Subtype.GROUP_BY),
)


def columns_of(sql: str, tables: Mapping[str, Mapping[str, str]]) -> tuple[ColumnEdge, ...]:
    """The edges of a SELECT's outputs. `tables`: stored table → its columns and their types."""
    schema: Schema = dict(tables)
    statement = qualify(sqlglot.parse_one(sql, dialect=DIALECT), schema=schema, dialect=DIALECT)
    if not isinstance(statement, exp.Query):
        raise ContractError("an aggregate's file must hold one SELECT")
    decisive = [
        (source, subtype)
        for clause, subtype in _CLAUSES
        for found in statement.find_all(clause)
        for source in _columns_in(found, sql, schema)
    ]
    edges: dict[ColumnEdge, None] = {}
    outputs = lineage(None, sql, schema=schema, dialect=DIALECT)  # all at once: the statement is read once
    for name in statement.named_selects:
        for source, subtype in _direct(outputs[name], schema):
            edges[ColumnEdge(*source, name, Kind.DIRECT, subtype, False)] = None
        for source, subtype in decisive:
            edges[ColumnEdge(*source, name, Kind.INDIRECT, subtype, False)] = None
    return tuple(edges)


def _direct(root: Node, schema: Schema) -> Iterator[tuple[Source, Subtype]]:
    nodes = list(root.walk())
    if any(node.expression.find(exp.AggFunc) for node in nodes):
        subtype = Subtype.AGGREGATION
    elif all(isinstance(node.expression.unalias(), exp.Column | exp.Table) for node in nodes):
        subtype = Subtype.IDENTITY
    else:
        subtype = Subtype.TRANSFORMATION
    for source in _leaves(nodes, schema):
        yield source, subtype


def _leaves(nodes: Iterable[Node], tables: Schema) -> Iterator[Source]:
    """The stored columns at the ends; for count(*) the stored tables it counts the rows of."""
    for node in nodes:
        if isinstance(node.expression, exp.Table):
            yield naming.postgres(node.expression.name), node.name.rpartition(".")[2].strip('"')
        elif not node.downstream:
            for table in node.source.find_all(exp.Table):
                if table.name in tables:
                    yield naming.postgres(table.name), None


def _columns_in(clause: exp.Expression, sql: str, schema: Schema) -> Iterator[Source]:
    """The stored columns that a clause names, through the select it stands in."""
    select = clause.parent_select
    if select is None:
        return
    for column in clause.find_all(exp.Column):
        if column.parent_select is not select:
            continue
        asked = select.copy()
        asked.set("expressions", [column.copy().as_("asked")])
        for clearing in ("group", "distinct", "order"):
            asked.set(clearing, None)
        with_ = clause.root().args.get("with_")
        if with_ is not None and asked.args.get("with_") is None and select.parent is None:
            asked.set("with_", with_.copy())
        root = lineage("asked", asked, schema=schema, dialect=DIALECT)
        yield from (each for each in _leaves(root.walk(), schema) if each[1] is not None)
