"""Column lineage of Polars, read from the plan: no data is touched and no query text is parsed.

>>> frame = named(pl.scan_csv("readings.csv"), "file:readings.csv")
>>> trace(frame.filter(pl.col("ok")).select(celsius=pl.col("kelvin") - 273.15))

See docs/columns.md.
"""

from .edges import trace
from .model import ColumnEdge, Kind, Subtype, UnknownPlanWarning
from .naming import collected, named

__all__ = ["ColumnEdge", "Kind", "Subtype", "UnknownPlanWarning", "collected", "named", "trace"]
