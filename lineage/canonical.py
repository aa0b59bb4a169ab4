"""One text for one value, so that equal values have equal hashes."""

import json
from collections.abc import Callable
from typing import Any


def canonical_json(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """JSON with sorted keys, no spaces, text as it is; `default` gives a form to a value that has none."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=default)
