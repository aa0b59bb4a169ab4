"""The events in a file, each to the byte: one event, an array of them, or one after another (NDJSON).

Which of them it is, is seen by looking. A file is taken as a whole or not at all: what is no JSON anywhere in
it is one sentence that says where, so that no piece of an event is ever kept for one.
"""

import json
from collections.abc import Iterator
from typing import IO

from ..errors import RejectedError

_SPACE = " \t\r\n"
_BOM = b"\xef\xbb\xbf"


def documents(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Every event of a file that can be read again; an event a line is never all in memory.

    Raises RejectedError, before the first, with the line and column of what is no JSON.
    """
    if all(_is_whole(line) for line in file):
        file.seek(0)
        yield from (line.strip() for line in _lines(file) if line.strip())
    else:
        file.seek(0)
        yield from _values(file.read(), name)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    for place, line in enumerate(file):
        yield line.removeprefix(_BOM) if place == 0 else line


def _is_whole(line: bytes) -> bool:
    """Whether a line is empty, or one object."""
    text = line.removeprefix(_BOM).strip()
    if not text:
        return True
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _values(content: bytes, name: str) -> Iterator[bytes]:
    """The values of a text one after another, and those of an array each."""
    try:
        text = content.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        raise _refused(name, content[: error.start].decode(), "no UTF-8") from error
    found: list[bytes] = []
    place = _after_space(text, 0)
    while place < len(text):
        take = _array if text[place] == "[" else _one
        place = _after_space(text, take(text, place, name, found))
    yield from found


def _array(text: str, place: int, name: str, found: list[bytes]) -> int:
    """Take the elements of an array that begins here; returns its end."""
    place = _after_space(text, place + 1)
    if text[place : place + 1] == "]":
        return place + 1
    while True:
        place = _after_space(text, _one(text, place, name, found))
        match text[place : place + 1]:
            case ",":
                place = _after_space(text, place + 1)
            case "]":
                return place + 1
            case _:
                raise _refused(name, text[:place], "expecting ',' or ']'")


def _one(text: str, place: int, name: str, found: list[bytes]) -> int:
    """Take the object that begins here; returns its end."""
    if text[place : place + 1] != "{":
        raise _refused(name, text[:place], "expecting an object")
    try:
        _, end = _DECODER.raw_decode(text, place)
    except json.JSONDecodeError as error:
        raise _refused(name, text[: error.pos], error.msg[:1].lower() + error.msg[1:]) from error
    except RecursionError as error:
        raise _refused(name, text[:place], "an event nested too deep") from error
    found.append(text[place:end].encode())
    return end


_DECODER = json.JSONDecoder()


def _after_space(text: str, place: int) -> int:
    while place < len(text) and text[place] in _SPACE:
        place += 1
    return place


def _refused(name: str, before: str, what: str) -> RejectedError:
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    where = f"line {line}, column {column}"
    return RejectedError(f"{name} is no file of events: {where}: {what}; nothing of it was imported.")
