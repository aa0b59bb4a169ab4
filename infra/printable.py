"""What comes from outside, made safe to be shown: it moves no cursor, forges no line, turns no text around.

Escaped are control characters (ESC, BEL, new lines, C1), those that are seen only by what they do
(directions, zero widths, tags), separators of lines and paragraphs, blanks that pass for letters, and halves
of surrogate pairs. All else stays as it is.
"""

import re
from collections.abc import Mapping
from typing import Final

_UNSEEN: Final = (
    "\x00-\x1f\x7f-\x9f"  # Cc
    "\u2028\u2029\ud800-\udfff\u115f\u1160\u3164\uffa0"  # Zl, Zp, Cs, fillers
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e"  # Cf from here on
    "\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e007f"
)
_ANY: Final = re.compile(f"[{_UNSEEN}]")
_BUT_LINES: Final = re.compile(f"(?![\n\t])[{_UNSEEN}]")
_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&])")


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with `\n`, `\x1b`, `\u202e` for what cannot be seen; with `lines` it keeps its lines."""
    if text.isascii() and text.isprintable():
        return text
    return (_BUT_LINES if lines else _ANY).sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        code -= 0xDC00
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return _NAMED.get(found[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def printable_json(document: str) -> str:
    """A JSON text that means the same, with JSON's own escapes for what cannot be seen."""
    return _ANY.sub(_json_escape, document)


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def printable_value(value: object) -> object:
    """A value of a log's event at every depth; what is no text stays as it is."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(name)): printable_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [printable_value(inner) for inner in value]
    return value


def markdown(text: str) -> str:
    """A text that Markdown shows as it is, also in a cell of a table."""
    return _MARKDOWN.sub(r"\\\1", printable(text))
