"""Takes passwords out of text before anyone reads it: in logs, in errors and in `headwater status`.

Two nets, because each has holes of its own: the shapes secrets come in (a URL's password, `password=…`,
an Authorization header), and the very values that the settings hold. When in doubt too much is masked.
"""

import re
from collections.abc import Iterable, Mapping

MASK = "***"
SHORTEST_LITERAL = 6
"""A known secret shorter than this is found by its shape alone: masking "demo" everywhere hides the log."""

_WORDS = (
    r"pass(?:word|wd|phrase)?|pwd|sslpassword|secret|token|credentials|"
    r"api[_-]?key|access[_-]?key|private[_-]?key"
)
# Up to the last @ before a blank or another URL: passwords hold @ and / more often than one thinks.
_IN_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/?#:@]*):(?:(?!://)\S)+@")
_IN_PAIR = re.compile(
    rf"""(?ix) \b ((?:[a-z0-9]+[_-])*(?:{_WORDS}))      # a name that says it is a secret
         (["']?\s*[=:]\s*)                              # its equals sign or colon, as in JSON too
         (?: '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | [^\s&,;)}}\]"']+ )"""
)
_IN_HEADER = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}")
_SECRET_NAME = re.compile(rf"(?i)^(?:.*[_.-])?(?:{_WORDS}|authorization|dsn)$")


def mask(text: str, known: Iterable[str] = ()) -> str:
    """The text without the passwords it holds; `known` are secrets to hide wherever they stand."""
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= SHORTEST_LITERAL:
            text = text.replace(secret, MASK)
    text = _IN_URL.sub(rf"\1:{MASK}@", text)
    text = _IN_PAIR.sub(rf"\1\2{MASK}", text)
    return _IN_HEADER.sub(rf"\1 {MASK}", text)


def mask_value(name: str, value: object, known: Iterable[str] = ()) -> object:
    """A value to be logged under `name`, masked at every depth.

    Numbers, booleans and None stay what they are; anything that is not a container becomes its text,
    because its text is what a renderer would write, after masking.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): mask_value(str(key), inner, known) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask_value(name, inner, known) for inner in value]
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if _SECRET_NAME.match(name) and "://" not in text:
        return MASK
    return mask(text, known)
