"""One item out of a robot's page of commands, as its bytes stand there."""

from collections.abc import Iterator
from json import JSONDecoder
from json.decoder import WHITESPACE  # type: ignore[attr-defined]  # it has no stub

_DECODER = JSONDecoder()
Span = tuple[int, int]


def item_of(page: bytes, part: int) -> bytes | None:
    """The bytes of item `part` (from 0) of the page's `data`; None when they cannot be found."""
    try:
        text = page.decode("utf-8")
        data = None
        for name, span in _members(text):
            data = span if name == "data" else data  # of a name that comes twice the last counts
        start, end = list(_items(text, data[0]))[part] if data else (0, 0)
    except (ValueError, IndexError, RecursionError):  # no page of ours: it is shown as it is
        return None
    return text[start:end].encode() or None


def _members(text: str) -> Iterator[tuple[str, Span]]:
    """Each name of the outermost object, and where its value stands."""
    at = _after(text, "{", 0)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        start = _after(text, ":", at)
        _, end = _DECODER.raw_decode(text, start)
        yield str(name), (start, end)
        at = _next(text, end)


def _items(text: str, at: int) -> Iterator[Span]:
    at = _after(text, "[", at)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        yield at, end
        at = _next(text, end)


def _after(text: str, mark: str, at: int) -> int:
    at = _spaces(text, at)
    if text[at] != mark:
        raise ValueError(f"no {mark} at {at}")
    return _spaces(text, at + 1)


def _next(text: str, at: int) -> int:
    at = _spaces(text, at)
    return _spaces(text, at + 1) if text[at] == "," else at


def _spaces(text: str, at: int) -> int:
    return int(WHITESPACE.match(text, at).end())
