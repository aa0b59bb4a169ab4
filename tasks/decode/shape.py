"""The fast way to decode: messages of one shape are read by one regular expression.

A device prints its messages from one template: the same keys in the same order with the same spaces. A
shape is that template, learned from one message, with a group for each value the contract wants. It is
narrower than JSON on purpose (no escapes, no exponents, no arrays): what it matches means the same to it and
to the strict reader in `strict.py`, and what it does not match goes to that reader. So a verdict never
depends on which shapes a batch happened to teach.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tasks.contract import Column, Contract
from tasks.decode import cells, strict
from tasks.types.json_number import NUMBER, TEXT

Path = tuple[str, ...]

_TRUTH: Final = r"true|false"
_WRITTEN: Final = r"0|-?[1-9][0-9]{0,17}"
_TOKEN: Final = re.compile(
    rf'(?P<space>[ \t\r\n]+)|(?P<text>"{TEXT}")|(?P<number>{NUMBER})|(?P<truth>{_TRUTH})|(?P<null>null)'
    r"|(?P<endless>NaN|-?Infinity)|(?P<mark>[{}:,])"
)
_FINITE: Final = r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]+)?"  # nobody looks at it again: it must not overflow
_LIKE: Final = {
    "text": f'"{TEXT}"',
    "number": _FINITE,
    "truth": f"(?:{_TRUTH})",
    "null": "null",
    "endless": "(?:NaN|-?Infinity)",
}
_MAPPED: Final = {"text": f'"({TEXT})"', "number": f"({_WRITTEN})", "truth": f"({_TRUTH})"}
MATCHED: Final = ".matched"  # no contract's column has a dot in its name
_EXACT: Final = 1e15  # larger numbers may overflow: left to the strict reader
_WORTH_SHARING: Final = 2_000  # texts
_FIRST: Final = "1"  # every group of a shape takes part in its match, so the first tells if there is one


@dataclass(frozen=True, slots=True)
class Shape:
    """One template: its expression, what its groups hold, and which rules each of its messages breaks."""

    pattern: str
    groups: Mapping[str, pl.DataType]  # output column → type, in the order of the groups
    faults: Mapping[str, str]  # column → rule

    def fits(self, text: str) -> bool:
        """Whether it probably reads this text."""
        return re.match(self.pattern, text) is not None

    def read(self, texts: pl.Series) -> pl.DataFrame:
        """Decode texts (String, n) to the shape's columns and MATCHED (Boolean), n rows."""
        columns = [
            _typed(pl.col(str(number)), dtype).alias(name)
            for number, (name, dtype) in enumerate(self.groups.items(), start=1)
        ]
        faults = [pl.lit(rule).alias(cells.fault(name)) for name, rule in self.faults.items()]
        matched = pl.col(_FIRST).is_not_null().alias(MATCHED)
        floats = [name for name, dtype in self.groups.items() if dtype == pl.Float64]
        exact = [(pl.col(name).abs() < _EXACT).fill_null(True) for name in floats]
        groups = pl.col("text").str.extract_groups(self.pattern).struct.unnest()
        parts = [part.to_frame("text").lazy().select(groups) for part in _shared(texts)]
        typed = [part.select(matched, *columns, *faults) for part in parts]
        read = [part.with_columns(pl.all_horizontal(MATCHED, *exact)) for part in typed]
        return pl.concat(read, rechunk=True).collect(engine="in-memory")


def _shared(texts: pl.Series) -> list[pl.Series]:
    """Halves for two cores, where there is enough for each: an expression runs on one."""
    if texts.len() < _WORTH_SHARING:
        return [texts]
    half = texts.len() // 2
    return [texts[:half], texts[half:]]


def _typed(part: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return part == "true" if dtype == pl.Boolean else part.cast(dtype)


def learn(sample: str, contract: Contract) -> Shape | None:
    """The shape of one message; None when it holds anything that only the strict reader may judge."""
    if isinstance(strict.read(sample.encode(), contract, strict.decimals_of(contract)), str):
        return None
    return _Template({column.source_path: column for column in contract.recorded}).fill(sample)


def _tokens(sample: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each token; a last kind `other` where the shape's narrow grammar ends."""
    at = 0
    while at < len(sample):
        token = _TOKEN.match(sample, at)
        if token is None:  # an escape, an array, an exponent
            yield "other", sample[at:]
            return
        at = token.end()
        yield str(token.lastgroup), token[0]


@dataclass(slots=True)
class _Template:
    """Walks the tokens of one valid JSON object and writes the expression that matches its like."""

    columns: Mapping[Path, Column]
    pattern: list[str] = field(default_factory=list)
    groups: dict[str, pl.DataType] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def fill(self, sample: str) -> Shape | None:
        path: list[str] = []
        seen: set[Path] = set()
        key_is_next = True
        for kind, text in _tokens(sample):
            if kind == "space" or (kind == "mark" and text in ":,"):
                key_is_next = text == "," if kind == "mark" else key_is_next
                self.pattern.append(text)
            elif kind == "mark":
                if not self._brace(text, path):
                    return None
                key_is_next = text == "{"
            elif key_is_next and kind == "text":
                path.append(text[1:-1])
                if tuple(path) in seen:  # a name that comes twice
                    return None
                seen.add(tuple(path))
                self.pattern.append(pl.escape_regex(text))
            elif not self._value(kind, text, tuple(path)):
                return None
            else:
                path.pop()
        if not self.groups:  # nothing that the contract wants
            return None
        return Shape(f"^{''.join(self.pattern)}$", self.groups, self.faults)

    def _brace(self, brace: str, path: list[str]) -> bool:
        """An object opens or ends; False where the contract wants a plain value."""
        if brace == "{" and tuple(path) in self.columns:
            return False
        if brace == "}" and path:
            path.pop()
        self.pattern.append("\\" + brace)
        return True

    def _value(self, kind: str, text: str, path: Path) -> bool:
        """A plain value; False where only the strict reader may judge it."""
        column = self.columns.get(path)
        leads_on = any(other[: len(path)] == path for other in self.columns if other != path)
        if kind == "other" or (leads_on and kind != "null"):
            return False
        if column is None and kind == "endless":
            return False
        if column is None or kind == "null":
            self.pattern.append(_LIKE[kind])
            return True
        if not column.kind.fits_shape(kind, text):
            return False
        if kind == "text" and cells.null_words(column):
            return False
        if column.map is not None:
            return self._mapped(column, kind, text)
        group = column.kind.captured.get(kind)
        if group is None:
            fault = column.kind.endless if kind == "endless" else "type"
            self.faults[column.name] = f"{column.name}.{fault}"
        elif column.kind.has_epoch and kind == "number":
            self.groups[cells.epoch(column.name)] = pl.Float64()
        else:
            self.groups[column.name] = cells.type_of(column)
        self.pattern.append(group or _LIKE[kind])
        return True

    def _mapped(self, column: Column, kind: str, text: str) -> bool:
        """What a `map` is asked for, as it is written; a number that may be written in two ways is left."""
        if kind not in _MAPPED or (kind == "number" and not re.fullmatch(_WRITTEN, text)):
            return False
        self.groups[column.name] = pl.String()
        self.pattern.append(_MAPPED[kind])
        return True
