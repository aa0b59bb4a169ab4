"""Looking into a robot's answers without trusting them: whatever is there, nothing here raises.

What cannot be read is kept as it is, and rejected by the transform.
"""

from typing import Any, Final

from tasks.canonical import read_json

LONGEST: Final = 256  # characters of a status or a time
MOST: Final = 2**31  # of anything that a robot counts


def error_details(body: bytes) -> list[str]:
    """The robot's own words: `errors[].detail`, or the older `message`."""
    document = _json(body)
    if not isinstance(document, dict):
        return []
    details = [error.get("detail") for error in objects(document.get("errors")) or []]
    return [detail for detail in (*details, document.get("message")) if isinstance(detail, str) and detail]


def _json(body: bytes) -> Any:
    """The document, or None: what cannot be read is kept as it is and rejected by the transform."""
    try:
        return read_json(body)
    except ValueError:
        return None


def data_of(body: bytes) -> Any:
    """What stands in `data`, None when there is none or it cannot be read."""
    return mapping(_json(body)).get("data")


def meta_of(body: bytes) -> dict[str, Any]:
    """The paging: `cursor` and `totalLength`."""
    return mapping(mapping(_json(body)).get("meta"))


def mapping(value: Any) -> dict[str, Any]:
    """An object, empty when it is none."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[dict[str, Any]] | None:
    """The objects of a list, or None when it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else None


def text(value: Any) -> str | None:
    """A short text that Postgres can hold, None for anything else: positions are jsonb, and part of keys."""
    return value if isinstance(value, str) and value.isprintable() and len(value) <= LONGEST else None


def count(value: Any, otherwise: int) -> int:
    """A number of things, or `otherwise` when it is none."""
    return (
        value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST else otherwise
    )
