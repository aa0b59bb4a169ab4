"""One file, cut into parts that are the same each time it is read: how many, where, and their bytes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import polars as pl

from tasks.batch import MESSAGE_SCHEMA
from tasks.extract.content import Content
from tasks.extract.cuts import Cut, Limits, Part, Survey, Text
from tasks.extract.encoding import UTF8_MARK, why_no_text
from tasks.extract.formats.format import FileFormat, TextFormat
from tasks.extract.lines import Opening
from tasks.layout import MAX_RECORD, whole

LONGEST: Final = 64 * 1024 * 1024  # bytes without the end of a record: no text, and cut anyway
HEAD: Final = 64 * 1024  # bytes in which a first line ends, mostly

Read = Callable[[int], bytes]


def survey(content: Content, name: str, file_format: FileFormat, limits: Limits) -> Survey:
    """Read a file once, to hash it and to find its cuts."""
    if isinstance(file_format, TextFormat):
        return _survey_text(content, name, file_format, limits.max_bytes)
    content.read_to_end()
    from tasks.extract.row_parts import row_cuts  # it loads Arrow's Parquet, for which few processes wait

    found = row_cuts(content, limits)
    refused = found if isinstance(found, str) else ""
    return Survey(
        name=name,
        format=file_format,
        content=content,
        sha256=content.sha256,
        cuts=_blobs(content, limits.max_bytes) if isinstance(found, str) else tuple(found),
        refused=refused,
        holds_records=bool(refused or found),
    )


def _survey_text(content: Content, name: str, text_format: TextFormat, max_bytes: int) -> Survey:
    head, opening = _head(content, text_format)
    text = text_of(name, text_format, head, opening)
    cuts, holds = [], False
    if text.refused:
        content.read_to_end()
    else:
        read = _after(head[text.begin :], content)
        for cut, has_records in _line_cuts(read, text, text_format, max_bytes):
            cuts.append(cut)
            holds |= has_records
    if text.before and not cuts:
        cuts.append(Cut(text.begin, text.begin, text.first_line))  # so that its header is judged
    return Survey(
        name=name,
        format=text_format,
        content=content,
        sha256=content.sha256,
        before=text.before,
        begin=text.begin,
        cuts=_blobs(content, max_bytes) if text.refused else tuple(cuts),
        line_end=text.line_end,
        refused=text.refused,
        holds_records=bool(text.refused) or holds,
    )


def text_of(name: str, text_format: FileFormat, head: bytes, opening: Opening) -> Text:
    """What a file of text is; `head`: its first bytes, `opening`: of them, what stands before its records."""
    refused = why_no_text(head) or _why_too_long(text_format, opening)
    before = b"" if refused else head[: opening.length]
    marked = not refused and not before and head.startswith(UTF8_MARK)
    return Text(
        name=name,
        format=text_format,
        before=before,
        begin=len(UTF8_MARK) if marked else len(before),
        line_end=opening.line_end,
        refused=refused,
    )


def _why_too_long(text_format: FileFormat, opening: Opening) -> str:
    """Why what stands before the records is not kept with each part; empty: it is."""
    if opening.length <= MAX_RECORD:
        return ""
    lines = text_format.layout().lines_before
    first = "line is" if lines == 1 else f"{lines} lines are"
    return f"its first {first} longer than 1 MB: that is no header"


def _head(content: Content, text_format: TextFormat) -> tuple[bytes, Opening]:
    """The first bytes, and what of them stands before the records."""
    head, wanted = b"", HEAD
    while True:
        head += content.read(wanted - len(head))
        ended = len(head) < wanted
        found = text_format.opening(head, ended=ended or len(head) >= LONGEST)
        if found is not None:
            return head, found
        wanted *= 2


def _after(head: bytes, content: Content) -> Read:
    """Reads on: what was read already, then the rest."""

    def read(size: int) -> bytes:
        nonlocal head
        if len(head) < size:
            head += content.read(size - len(head))
        data, head = head[:size], head[size:]
        return data

    return read


def _line_cuts(read: Read, text: Text, text_format: TextFormat, max_bytes: int) -> Iterator[tuple[Cut, bool]]:
    """Cuts at ends of records, each of at most `max_bytes` unless its one record is longer; has it any?"""
    begin, line, line_end = text.begin, text.first_line, text.line_end
    window, wanted = b"", max_bytes
    while True:
        window += read(wanted - len(window))
        if not window:
            return
        ended = len(window) < wanted
        taken = len(window) if ended else whole(window, text_format.kind, line_end)
        if not taken and len(window) >= LONGEST:
            taken = len(window)
        if taken:
            held = text_format.no_blank.search(window, 0, taken)
            yield Cut(begin, begin + taken, line), held is not None
            begin, line = begin + taken, line + window.count(line_end, 0, taken)
            window, wanted = window[taken:], max(max_bytes, len(window) - taken + 1)
        else:
            wanted *= 2


def _blobs(content: Content, max_bytes: int) -> tuple[Cut, ...]:
    """Cuts anywhere, of a file that is hashed to its end."""
    size = content.size
    return tuple(Cut(begin, min(begin + max_bytes, size), 1) for begin in range(0, size, max_bytes))


def parts(found: Survey, wanted: Iterable[Cut], max_part: int) -> Iterator[Part]:
    """The wanted parts of a file in order; raises ChangedError where it holds other bytes by now."""
    if any(cut.group is not None for cut in found.cuts):
        from tasks.extract.row_parts import row_parts

        yield from row_parts(found, set(wanted), max_part)
        return
    for cut in wanted:
        chunk = found.content.read_again(cut.first, cut.end)
        yield Part(cut, text_messages(found, cut, chunk), found.refused)


def text_messages(text: Text, cut: Cut, chunk: bytes) -> pl.DataFrame:
    """The messages of a part: what stands before the records in its file, then its records."""
    rows = [(f"{text.name}:1", text.before)] if text.before else []
    rows.append((f"{text.name}:{cut.line}", chunk))
    return pl.DataFrame(rows, MESSAGE_SCHEMA, orient="row")


def halved(found: Survey, part: Part) -> tuple[Part, Part] | None:
    """A part in two; None when it is one record."""
    if isinstance(found.format, TextFormat) or part.refused:
        return halved_text(found, part)
    from tasks.extract.row_parts import halved_rows

    return halved_rows(found, part)


def halved_text(text: Text, part: Part) -> tuple[Part, Part] | None:
    """A part of text in two; None when it is one record."""
    if part.refused:
        return None
    chunk, line_end = part.messages["payload"][-1], text.line_end
    middle = whole(chunk[: len(chunk) // 2], text.format.kind, line_end)
    middle = middle or whole(chunk[:-1], text.format.kind, line_end)
    if not middle:
        return None
    line = part.cut.line + chunk.count(line_end, 0, middle)
    cuts = (
        Cut(part.cut.first, part.cut.first + middle, part.cut.line),
        Cut(part.cut.first + middle, part.cut.end, line),
    )
    return (
        Part(cuts[0], text_messages(text, cuts[0], chunk[:middle])),
        Part(cuts[1], text_messages(text, cuts[1], chunk[middle:])),
    )
