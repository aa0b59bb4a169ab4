"""One record out of a robot's answer, as its bytes stand there."""

from collections.abc import Iterator
from json import JSONDecoder
from json.decoder import WHITESPACE  # type: ignore[attr-defined]  # it has no stub

_DECODER = JSONDecoder()
Span = tuple[int, int]


def item_of(page: bytes, part: int) -> bytes | None:
    """The bytes of item `part` (from 0) of the page's `data`; None when they cannot be found."""
    try:
        return items_of(page)[part]
    except (ValueError, IndexError, RecursionError):  # no page of ours: it is shown as it is
        return None


def items_of(page: bytes) -> list[bytes]:
    """The bytes of each item of the page's `data`; ValueError or IndexError where it is no such page."""
    text = page.decode("utf-8")
    at, _ = _data(text)
    return [text[start:end].encode() for start, end in _items(text, at)]


def data_of(answer: bytes) -> bytes:
    """The bytes of an answer's `data`; ValueError or IndexError where it has none."""
    text = answer.decode("utf-8")
    start, end = _data(text)
    return text[start:end].encode()


def _data(text: str) -> Span:
    found = [span for name, span in _members(text) if name == "data"]
    if not found:
        raise ValueError("no data")
    return found[-1]  # of a name that comes twice the last counts


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
