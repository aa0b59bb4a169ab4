"""Topics and paths of files with named parts, `tele/{device}/SENSOR`: what fits, and what each part is.

Raises ValueError with a sentence where what is written is no such pattern.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

Kind = Literal["topic", "file"]

_NAME: Final = r"[a-z][a-z0-9_]{0,62}"
_LEVEL: Final = re.compile(rf"\{{({_NAME})\}}")
_PART: Final = re.compile(rf"\{{({_NAME})(?::((?:[^{{}}]|\{{[0-9,]+\}})+))?\}}")
_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]+$")
_GLOB: Final = re.compile(r"\*\*/|\*\*|\*|\?")
_OF_GLOB: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, slots=True)
class Pattern:
    """`regex` matches the whole of a topic or a path; it has one group for each of `names`, in order."""

    kind: Kind
    said: str
    regex: str
    names: tuple[str, ...]

    def fits(self, location: pl.Expr) -> pl.Expr:
        """Whether a topic or path fits (Boolean); one that is not there does not."""
        return location.str.contains(self.regex).fill_null(False)

    def part(self, location: pl.Expr, name: str) -> pl.Expr:
        """What a name stands for (String); null where the topic or path does not fit."""
        return location.str.extract(self.regex, self.names.index(name) + 1)

    def differs(self, location: pl.Expr, name: str, value: pl.Expr) -> pl.Expr:
        """Whether a topic or path that fits names another part (Boolean); null where `value` is."""
        before, named, after = self.said.partition(f"{{{name}}}")
        if self.kind == "topic" and named and not re.search(r"[{+#]", before + after):
            return location != pl.concat_str(pl.lit(before), value, pl.lit(after))  # nothing else varies
        return self.part(location, name) != value


def topic_pattern(said: str) -> Pattern:
    """A topic filter of MQTT (3.1.1, 4.7.1) whose levels may have names.

    `+` is one level, which may be empty; `{name}` one that is not; `#` any number of levels, none too.
    """
    levels = said.split("/")
    several = levels[-1] == "#"
    if several:
        levels.pop()
    regex = "/".join(_level(level, said) for level in levels)
    if several:
        regex += "(?:/.*)?" if levels else ".*"
    return Pattern("topic", said, f"(?s)^{regex}$", _once(_LEVEL.findall(said), said))


def _level(level: str, said: str) -> str:
    if level == "+":
        return "[^/]*"
    if _LEVEL.fullmatch(level):
        return "([^/+#]+)"
    if wrong := re.search(r"[{}+#]", level):
        raise ValueError(
            f"{wrong[0]} stands for a level of {said!r} by itself: write +, {{name}}, or # as the last one"
        )
    return pl.escape_regex(level)


def topic_filter(said: str) -> str:
    """As a broker takes it: each name is a `+`."""
    return _LEVEL.sub("+", said)


def file_pattern(said: str) -> Pattern | None:
    """A glob of paths, parts of which have names, `{name}` or `{name:regex}`; None where none has.

    A name without a regex of its own is anything within one directory's or file's name. The case of an
    extension does not count (`extract/folder.py`).
    """
    names = _once([part[1] for part in _PART.finditer(said)], said)
    if not names and "{" not in said:
        return None
    for part in _PART.finditer(said):
        _check_part(part[2] or "", said)
    end = _EXTENSION.search(said)
    regex = "".join(_of_glob(said[: end.start()] if end else said))
    if end:
        regex += f"(?i:{pl.escape_regex(end[0])})"
    return Pattern("file", said, f"(?s)^{regex}$", names)


def _check_part(regex: str, said: str) -> None:
    """Raise ValueError where it is no pattern by itself, or has groups, which would be parts of their own."""
    try:
        found = pl.Series([""]).str.extract_groups(f"({regex})")
    except pl.exceptions.ComputeError as error:
        raise ValueError(f"a part of {said!r} is no pattern: {' '.join(str(error).split())}") from error
    if len(found.struct.fields) > 1:
        raise ValueError(f"a group in a part of {said!r} would be a part of its own: write (?:…) for (…)")


def _of_glob(said: str) -> Iterator[str]:
    at = 0
    for part in _PART.finditer(said):
        yield from _plain(said[at : part.start()], said)
        yield f"({part[2] or '[^/]+'})"
        at = part.end()
    yield from _plain(said[at:], said)


def _plain(text: str, said: str) -> Iterator[str]:
    if wrong := re.search(r"[{}\[]", text):
        raise ValueError(
            f"{wrong[0]} in {said!r} is of no name: write {{name}} or {{name:regex}}, without braces in it"
        )
    at = 0
    for sign in _GLOB.finditer(text):
        yield pl.escape_regex(text[at : sign.start()])
        yield _OF_GLOB[sign[0]]
        at = sign.end()
    yield pl.escape_regex(text[at:])


def file_glob(said: str) -> str:
    """As `Path.glob` takes it: each name is a `*`."""
    return _PART.sub("*", said)


def _once(names: list[str], said: str) -> tuple[str, ...]:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{said!r} names {twice} twice: rename one of them")
    return tuple(names)
