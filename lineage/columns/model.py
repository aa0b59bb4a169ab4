"""The words of column lineage, as OpenLineage's ColumnLineageDatasetFacet spells them."""

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """DIRECT: the value is made from the source. INDIRECT: the source decides which value, or which row."""

    DIRECT = "DIRECT"
    INDIRECT = "INDIRECT"


class Subtype(StrEnum):
    """How: the first three are DIRECT, from the weakest to the strongest; the others INDIRECT."""

    IDENTITY = "IDENTITY"
    TRANSFORMATION = "TRANSFORMATION"
    AGGREGATION = "AGGREGATION"
    FILTER = "FILTER"
    JOIN = "JOIN"
    GROUP_BY = "GROUP_BY"
    SORT = "SORT"
    WINDOW = "WINDOW"
    CONDITIONAL = "CONDITIONAL"


class ColumnEdge(NamedTuple):
    """One dependency of one output column.

    `source_column` is None where the output comes from the rows or from a constant alone.
    `opaque` means that the plan did not show the dependency and that it is assumed.
    """

    source_dataset: str
    source_column: str | None
    target_column: str
    kind: Kind
    subtype: Subtype
    opaque: bool


class UnknownPlanWarning(UserWarning):
    """This Polars has a plan that we do not know: every output is taken to depend on every input."""
