"""The names of a file's columns against the contract's: which are ours, and why a file is not read.

A name that the contract does not know is ignored. It is no such name if it nearly fits a column that is not
there: `Temperature` for `temperature` would be stored as nulls. Then nothing of the file is read.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from lineage.counted import counted
from tasks.batch import Layout
from tasks.contract import Contract

TWICE: Final = "header.twice"
NEAR: Final = "header.near"
NONE: Final = "header.none"
SKIP: Final = "header.skip"

_ALIKE: Final = 0.8  # of difflib's ratio
_SHORTEST: Final = 3  # letters of a beginning that stands for a name, as `hum`
_DELIMITERS: Final = (",", ";", "\t", "|")
_NAME_THEM: Final = "write a first line that names the columns, or say `names` in the pipeline's `format`"
_SHOWN: Final = 80  # characters of a line


@dataclass(frozen=True, slots=True)
class Fault:
    """Why no record under a header is read."""

    rule: str
    sentence: str


def too_short(before: bytes, layout: Layout) -> Fault | None:
    """What is wrong with a file that ends before its records begin; `before`: what stands before them."""
    if not layout.skip:
        return None  # a header that is not there names no column
    end = layout.line_end.encode()
    lines = before.count(end) + (bool(before) and not before.endswith(end))
    if lines >= layout.lines_before:
        return None
    after = f"line {layout.lines_before}{'' if layout.names else ', its header'}"
    return Fault(
        SKIP,
        f"the file has {counted(lines, 'line')}, and by `skip` its records begin after {after}: correct "
        "`skip` in the pipeline, and drop the file again under another name",
    )


def header_in(before: bytes, layout: Layout) -> bytes:
    """The header in what stands before the records of a file; empty where the layout has names."""
    return b"" if layout.names else before.split(layout.line_end.encode(), layout.skip)[-1]


def names_of(header: bytes, delimiter: str) -> list[str]:
    """The names in a CSV header; a line has a cell at least."""
    line = header.decode("utf-8-sig", "replace").rstrip("\r\n")
    try:
        return next(csv.reader([line], delimiter=delimiter), []) or [""]
    except csv.Error:  # a cell longer than it takes
        return [line]


def our_names(layout: Layout, contract: Contract) -> dict[str, str]:
    """A file's column → the contract's: by the layout, by its path (`location.latitude`), or by its name."""
    paths = {".".join(column.source_path): column.name for column in contract.recorded}
    return paths | {column.name: column.name for column in contract.recorded} | dict(layout.columns)


def fault_of(names: Sequence[str], ours: Mapping[str, str]) -> Fault | None:
    """What is wrong with a file's names (`ours`: see `our_names`); None: its records are read."""
    found: dict[str, str] = {}
    for name in names:
        column = ours.get(name)
        if column is None:
            continue
        if column in found:
            both = f", as {found[column]} and {name}" if found[column] != name else ""
            return Fault(TWICE, f"the header names {column} twice{both}: leave one")
        found[column] = name
    if not found and (hint := _looks_like(names, ours)):
        return _none(names, hint)
    unknown = [name for name in names if name not in ours]
    near = _near(unknown, {name: column for name, column in ours.items() if column not in found})
    return near or (None if found else _none(names, _NAME_THEM))


def alike(unknown: Sequence[str], absent: Mapping[str, str]) -> dict[str, str]:
    """All that look like a name that is not there, each with the one that it is most like."""
    found: dict[str, str] = {}
    for name in unknown:
        nearest = max(absent, key=lambda known: _likeness(name, known), default=None)
        if nearest is not None and _likeness(name, nearest) >= _ALIKE:
            found[name] = nearest
    return found


def _near(unknown: Sequence[str], absent: Mapping[str, str]) -> Fault | None:
    found = alike(unknown, absent)
    if not found:
        return None
    both = ", ".join(f"{name!r} like {nearest!r}" for name, nearest in found.items())
    columns = ", ".join(f"{name!r}: {absent[nearest]}" for name, nearest in found.items())
    return Fault(
        NEAR,
        f"names in the header look like others, which are not there: {both}. Write "
        f"columns: {{{columns}}} in the pipeline and replay, or rename them in a file of another name",
    )


def _likeness(name: str, known: str) -> float:
    """From 0 to 1, which stands for a difference in case, signs and what follows the name alone."""
    one, other = _letters(name), _letters(known)
    shorter, longer = sorted((one, other), key=len)
    if "." not in known and len(shorter) >= _SHORTEST and longer.startswith(shorter):
        return 1.0 + len(shorter) / len(longer)  # the nearest of those
    return SequenceMatcher(None, one, other).ratio()


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _looks_like(names: Sequence[str], ours: Mapping[str, str]) -> str:
    """What a file is whose first line names no column of ours; empty: nobody knows."""
    line = ",".join(names).lstrip()
    if line.startswith(("{", "[")):
        return "it looks like JSON: name the file .ndjson, with one object a line"
    if line.casefold().startswith("sep="):
        return "it begins with a line for Excel: remove `sep=`, and set the `delimiter` of its `format`"
    for delimiter in _DELIMITERS:
        if sum(cell.strip(' "') in ours for cell in line.split(delimiter)) > 1:
            return f"it looks separated by {delimiter!r}: set the `delimiter` of its `format` in the pipeline"
    return ""


def _none(names: Sequence[str], hint: str) -> Fault:
    return Fault(NONE, f"the first line names no column of the table ({_beginning(names)}): {hint}")


def _beginning(names: Sequence[str]) -> str:
    """Of a line, without what Postgres takes in no text: a binary file may begin with anything."""
    line = ",".join(names)[:_SHOWN]
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)
