"""What an expression depends on: one method for each kind of expression in Polars' plan."""

from collections.abc import Callable, Mapping
from typing import Any

from .beside import in_rows
from .functions import ROWWISE_HIDDEN, UNORDERED_AGGREGATES, function_name, returned
from .model import Subtype
from .operands import operands
from .reader import Reader
from .structs import STRUCT_FUNCTIONS
from .values import NO_CAUSES, Table, Value, all_causes, assumed, caused, causes_of, merge, raised, rows_of


class Expressions:
    """Reads the expressions of one node of a plan, over `table`, its input.

    The traverser must stand on that input: Polars types an expression against where it stands.
    """

    def __init__(self, reader: Reader, table: Table) -> None:
        self.reader = reader
        self.traverser = reader.traverser
        self.table = table
        self.constant = rows_of(table.datasets, Subtype.IDENTITY)
        self.structs: list[Value] = []  # those whose fields are being evaluated, innermost last
        self.operands: dict[int, Value] = {}  # read, and not yet asked for by their operator

    def named(self, expressions: list[Any]) -> dict[str, Value]:
        """What each of the `PyExprIR`s depends on, by its output's name."""
        return {expression.output_name: self.root(expression) for expression in expressions}

    def root(self, expression: Any) -> Value:
        value = self.of(expression.node)
        self.reader.last = max(self.reader.last, expression.node)
        return value

    def all(self, numbers: list[int]) -> list[Value]:
        return [self.of(number) for number in numbers]

    def of(self, number: int) -> Value:
        if number in self.operands:
            return self.operands.pop(number)
        waiting: list[tuple[int, Any]] = [(number, None)]
        while waiting:  # not recursive: a sum of a thousand columns is deeper than Python's stack
            each, node = waiting.pop()
            try:
                node = node or self.traverser.view_expression(each)
            except NotImplementedError as error:
                self.operands[each] = self.hidden(each, str(error))
                continue
            missing = [n for n in operands(node) if n not in self.operands]
            if missing:
                waiting.append((each, node))
                waiting.extend((n, None) for n in reversed(missing))
            else:
                self.operands[each] = self.read(node, each)
        return self.operands.pop(number)

    def read(self, node: Any, number: int) -> Value:
        read = _READERS.get(type(node).__name__)
        return self.hidden(number, "new") if read is None else read(self, node, number)

    def hidden(self, number: int, what: str) -> Value:
        """An expression that the plan hides: made from the columns named among its operands."""
        if what == "field" and self.structs:
            return merge(self.structs[-1:], Subtype.TRANSFORMATION)
        names = set(self.reader.columns_before(number)) & self.table.columns.keys()
        read = {name: self.table.columns[name] for name in names}
        value = assumed([self.table._replace(columns=read or self.table.columns)])
        return value._replace(lengths=NO_CAUSES) if what in ROWWISE_HIDDEN else value

    def ordered(self, value: Value) -> Value:
        """Decided by the order of the rows, too; so is which row meets what belongs to a place."""
        return caused(value, self.table.order) if self.table.order else value

    def combined(self, value: Value, operands: list[Value]) -> Value:
        """`value`, made of `operands` side by side: by their places, if some have lost their rows."""
        return value if in_rows(operands) else self.ordered(value)

    def column(self, node: Any, _: int) -> Value:
        return self.table.columns[node.name]

    def literal(self, node: Any, _: int) -> Value:
        if type(node.value).__name__ == "PySeries":
            return self.ordered(self.constant._replace(scalar=False))
        return self.constant

    def length(self, node: Any, _: int) -> Value:
        return rows_of(self.table.datasets, Subtype.AGGREGATION)

    def binary(self, node: Any, _: int) -> Value:
        operands = self.all([node.left, node.right])
        return self.combined(merge(operands, Subtype.TRANSFORMATION), operands)

    def alias(self, node: Any, _: int) -> Value:
        return self.of(node.expr)

    def cast(self, node: Any, _: int) -> Value:
        return raised(self.of(node.expr), Subtype.TRANSFORMATION)

    def sort(self, node: Any, _: int) -> Value:
        return self.ordered(raised(self.of(node.expr), Subtype.TRANSFORMATION))

    def sort_by(self, node: Any, _: int) -> Value:
        by = all_causes(self.all(node.by), Subtype.SORT)
        return self.ordered(caused(self.of(node.expr), by))

    def filter(self, node: Any, _: int) -> Value:
        value, predicate = self.all([node.input, node.by])
        by = causes_of(predicate, Subtype.FILTER)
        made = self.combined(caused(value, by), [value, predicate])
        chosen = made if by else self.ordered(made)  # by its place, as no column decides
        return chosen._replace(lengths=value.lengths | by, scalar=False)

    def gather(self, node: Any, _: int) -> Value:
        index = self.of(node.idx)
        value = self.ordered(caused(self.of(node.expr), causes_of(index, Subtype.FILTER)))
        return value._replace(lengths=index.lengths, scalar=node.scalar)

    def slice(self, node: Any, _: int) -> Value:
        by = all_causes(self.all([node.offset, node.length]), Subtype.FILTER)
        value = self.ordered(caused(self.of(node.input), by))
        return value._replace(lengths=value.lengths | by, scalar=False)

    def explode(self, node: Any, _: int) -> Value:
        value = raised(self.of(node.expr), Subtype.TRANSFORMATION)
        return value._replace(lengths=causes_of(value, Subtype.JOIN), scalar=False)

    def aggregate(self, node: Any, _: int) -> Value:
        value = merge(self.all(node.arguments), Subtype.AGGREGATION)
        value = value._replace(scalar=True, lengths=NO_CAUSES)
        return value if node.name in UNORDERED_AGGREGATES else self.ordered(value)

    def ternary(self, node: Any, _: int) -> Value:
        predicate, *chosen = self.all([node.predicate, node.truthy, node.falsy])
        value = merge(chosen, Subtype.TRANSFORMATION)
        decided = caused(value, causes_of(predicate, Subtype.CONDITIONAL))
        return self.combined(decided, [predicate, *chosen])._replace(
            lengths=value.lengths | predicate.lengths, scalar=value.scalar and predicate.scalar
        )

    def window(self, node: Any, _: int) -> Value:
        value = self.of(node.function)
        by = all_causes(self.all(node.partition_by), Subtype.WINDOW)
        if node.order_by is not None:
            by |= causes_of(self.of(node.order_by), Subtype.WINDOW)
        lengths = by if node.options.kind == "explode" else NO_CAUSES
        value = value if value.scalar else self.ordered(value)
        return caused(value, by)._replace(scalar=False, lengths=lengths)

    def rolling(self, node: Any, _: int) -> Value:
        by = causes_of(self.of(node.index_column), Subtype.WINDOW)
        return caused(self.of(node.function), by)._replace(scalar=False, lengths=NO_CAUSES)

    def struct(self, node: Any, _: int) -> Value:
        """`struct.with_fields`: the fields it had, and those evaluated over them."""
        whole = self.of(node.expr)
        self.structs.append(whole)
        made = self.named(node.evaluation)
        self.structs.pop()
        value = merge([whole, *made.values()], Subtype.TRANSFORMATION)
        kept = whole.fields if node.variant == "with_fields" else {}
        return value if kept is None else value._replace(fields={**kept, **made})

    def function(self, node: Any, number: int) -> Value:
        name = function_name(node.function_data)
        inputs = self.all(node.input)
        struct = STRUCT_FUNCTIONS.get(name)
        if struct is not None:
            value = struct(inputs, node.function_data, lambda: self.traverser.get_dtype(number))
            return self.combined(value, inputs)
        made = returned(name, inputs, self.table.order)
        return self.hidden(number, "new") if made is None else self.combined(made, inputs)


_READERS: Mapping[str, Callable[[Expressions, Any, int], Value]] = {
    "Agg": Expressions.aggregate,
    "Alias": Expressions.alias,
    "BinaryExpr": Expressions.binary,
    "Cast": Expressions.cast,
    "Column": Expressions.column,
    "Explode": Expressions.explode,
    "Filter": Expressions.filter,
    "Function": Expressions.function,
    "Gather": Expressions.gather,
    "Len": Expressions.length,
    "Literal": Expressions.literal,
    "Rolling": Expressions.rolling,
    "Slice": Expressions.slice,
    "Sort": Expressions.sort,
    "SortBy": Expressions.sort_by,
    "StructEval": Expressions.struct,
    "Ternary": Expressions.ternary,
    "Window": Expressions.window,
}
