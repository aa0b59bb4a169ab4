"""Expressions as pipelines write them: SQL over the columns of one record.

What is written is parsed and looked at before Polars reads it, since Polars would take what looks at other
rows, opens files or asks the clock. What is not on the list below is refused by its name. Polars reads it as
it is written anew: numbers of 64 bits, and no constant where one would be computed otherwise (ONE).
"""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any, Final

import polars as pl

from lineage.errors import ContractError
from tasks.contract import Column

ONE: Final = ".one"
"""A column of 1.0, by which a divisor is multiplied. Polars divides a column by a constant by way of its
reciprocal, but not the last rows of a frame: the last bit would depend on the size of the batch."""
LONGEST: Final = 2_000  # characters
MOST: Final = 300  # parts; Polars takes minutes for a sum of thousands
_SHOWN: Final = 40  # characters
_DIALECT: Final = "duckdb"  # of what sqlglot writes, the nearest to what Polars reads
_INT64: Final = 1 << 63

_KINDS: Final = frozenset(
    [
        *("Column", "Identifier", "Literal", "Boolean", "Null", "Paren", "Tuple"),
        *("Not", "And", "Or", "EQ", "NEQ", "GT", "GTE", "LT", "LTE", "Is", "In", "Between"),
        *("Like", "ILike", "RegexpLike", "StartsWith", "Case", "If", "Coalesce", "Nullif"),
        *("Cast", "TryCast", "DataType"),
        *("Neg", "Add", "Sub", "Mul", "Div", "Mod", "Abs", "Round", "Floor", "Ceil"),
        *("Sqrt", "Exp", "Ln", "Pow", "Greatest", "Least"),
        *("Lower", "Upper", "Length", "Trim", "Substring", "Replace", "Concat", "DPipe"),
    ]
)
"""The kinds of sqlglot's nodes that may stand in an expression."""


def expression(said: str, columns: Collection[str]) -> pl.Expr:
    """What is written as an expression over these columns; raises ContractError with what is wrong."""
    import sqlglot  # slow to load, and most pipelines need none

    if "\x00" in said:
        raise ContractError(f"{_shown(said)!r} holds a NUL character, which no text has")
    if len(said) > LONGEST:
        raise ContractError(f"{_shown(said)!r} has more than {LONGEST:,} characters: cut it into columns")
    try:
        tree = sqlglot.parse_one(said, dialect=_DIALECT)
        nodes = list(tree.walk())
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        raise ContractError(f"{_shown(said)!r} is no expression: {_why(error)}") from error
    if len(nodes) > MOST:
        raise ContractError(f"{_shown(said)!r} has more than {MOST} parts: cut it into columns")
    for node in nodes:
        if refused := _refused(node, columns):
            raise ContractError(f"{said!r}: {refused}")
    try:
        found: pl.Expr = pl.sql_expr(_exact(tree).sql(dialect=_DIALECT))
    except (pl.exceptions.PolarsError, RecursionError, UnicodeError) as error:
        raise ContractError(f"{said!a} is no expression: {_why(error)}") from error
    return found


def type_of(what: str, said: str, columns: Sequence[Column]) -> pl.DataType:
    """The type of what an expression over these columns gives; `what` names it in a ContractError."""
    types = {column.name: column.polars_type for column in columns}
    empty = pl.LazyFrame(schema={**types, ONE: pl.Float64()})
    try:
        return empty.select(expression(said, types)).collect().dtypes[0]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OverflowError) as error:
        why = " ".join(str(error).split())
        raise ContractError(f"{what}: {said!r} cannot be computed: {why}") from error


def said_of(dtype: pl.DataType) -> str:
    """A type as people call it."""
    known = {pl.String: "text", pl.Boolean: "a truth value", pl.Datetime: "a time", pl.Null: "null"}
    if dtype.is_numeric():
        return "a number"
    return next((what for kind, what in known.items() if isinstance(dtype, kind)), str(dtype))


def _refused(node: Any, columns: Collection[str]) -> str:
    """Why a part of an expression is not taken; empty: it is."""
    from sqlglot import exp

    if node.comments:
        return "write a comment beside an expression, after #"
    if type(node).__name__ not in _KINDS:
        return f"{_shown(node)} is not taken: docs/steps.md says what is"
    if isinstance(node, exp.Column) and (node.table or node.name not in columns):
        near = get_close_matches(node.name, columns, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(sorted(columns))}."
        return f"there is no column {node.sql()} to be read here: {hint}"
    if isinstance(node, exp.Cast):
        return _refused_cast(node)
    if isinstance(node, exp.Is) and not isinstance(node.expression, exp.Null):
        return "IS asks for NULL: compare with = for anything else"
    if isinstance(node, exp.Literal) and _is_too_large(node):
        return f"{_shown(node)} has more than 64 bits"
    if isinstance(node, exp.RegexpLike) and not (node.expression.is_string and not node.args.get("flag")):
        return "REGEXP_LIKE takes a column and a pattern in quotes, and no flag: write (?i) into the pattern"
    if isinstance(node, exp.Substring):
        given = [each for each in (node.args.get("start"), node.args.get("length")) if each is not None]
        if not all(each.is_int and int(each.name) > 0 for each in given):
            return "SUBSTRING takes where it begins and how many characters as numbers from 1 up"
    return ""


def _refused_cast(node: Any) -> str:
    from sqlglot import exp

    if node.to.is_type(exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR) and not node.to.expressions:
        return ""
    if not node.to.is_type(exp.DataType.Type.DOUBLE, exp.DataType.Type.BIGINT):
        return f"nothing is cast to {node.to.sql()}: choose from DOUBLE, BIGINT and TEXT"
    return "" if isinstance(node, exp.TryCast) else "write TRY_CAST: what cannot be cast is null then"


def _is_too_large(literal: Any) -> bool:
    return bool(literal.is_int and int(literal.name) >= _INT64)


def _exact(tree: Any) -> Any:
    """Numbers of 64 bits; what divides and what is raised to a power are columns; REGEXP_LIKE by its name."""
    from sqlglot import exp

    for node in reversed(list(tree.walk(bfs=False))):  # what is inside another first
        if isinstance(node, exp.Div | exp.Pow):
            node.set("expression", _column(node.expression))
        if isinstance(node, exp.Pow):
            node.set("this", _column(node.this))
        if (written := _written(node)) is not node:
            tree = written if node is tree else tree
            node.replace(written)
    return tree


def _written(node: Any) -> Any:
    from sqlglot import exp

    if isinstance(node, exp.RegexpLike):
        return exp.Anonymous(this="REGEXP_LIKE", expressions=[node.this.copy(), node.expression.copy()])
    if isinstance(node, exp.Length):
        return exp.cast(node.copy(), "BIGINT")
    counts = isinstance(node.parent, exp.Substring) or node.arg_key == "decimals"
    if isinstance(node, exp.Literal) and not node.is_string and not counts:
        return exp.cast(node.copy(), "BIGINT" if node.is_int else "DOUBLE")
    return node


def _column(operand: Any) -> Any:
    """The operand times ONE."""
    from sqlglot import exp

    one = exp.column(exp.to_identifier(ONE, quoted=True))
    return exp.paren(exp.Mul(this=exp.paren(operand.copy()), expression=one))


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    first = next(iter(getattr(error, "errors", [])), None)
    if first:
        return f"{str(first['description']).rstrip('.')}, at character {first['col']}"
    return " ".join(ascii(str(error)).strip("'").split())


def _shown(node: object) -> str:
    text = str(node)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
