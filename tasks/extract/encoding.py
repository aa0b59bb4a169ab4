"""What a file of text is, where it is none that we read: told in one sentence, from its first bytes."""

from collections.abc import Mapping
from typing import Final

UTF8_MARK: Final = b"\xef\xbb\xbf"

_MARKS: Final[Mapping[bytes, str]] = {  # the longer ones first
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_OTHERS: Final[Mapping[bytes, str]] = {
    b"\x1f\x8b": "compressed by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ\x00": "compressed by xz",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"PAR1": "Parquet",
    b"SQLite format 3\x00": "an SQLite database",
}
_LOOKED_AT: Final = 512


def why_no_text(head: bytes) -> str:
    """Why the bytes a file begins with are no UTF-8 text as a whole; empty: they may be."""
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return _encoded(name)
    for mark, name in _OTHERS.items():
        if head.startswith(mark):
            return f"the file is {name} and no text: unpack or convert it"
    return _encoded("UTF-16 without a byte order mark") if _is_wide(head[:_LOOKED_AT]) else ""


def _encoded(name: str) -> str:
    return f"the file looks like {name} and not like UTF-8: convert it, e.g. with iconv"


def _is_wide(head: bytes) -> bool:
    """Whether every other byte is a zero, nearly."""
    half = len(head) // 2
    return half > 1 and max(head[::2].count(0), head[1::2].count(0)) > 0.7 * half
