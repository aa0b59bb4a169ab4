"""The natural key of a row, as people write it and as Postgres takes it.

Three ways to write one, all of them of every key column:

    {"device_id": "a", "timestamp": "2026-11-21T08:00:00Z"}     a JSON object
    device_id=a,timestamp=2026-11-21T08:00:00Z                  by name, in any order
    a,2026-11-21T08:00:00Z                                      by place, in the key's order

A time without a zone is UTC. A comma inside a value is read right by name and in JSON.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lineage.errors import RejectedError
from tasks.contract import Contract

Key = Mapping[str, Any]
"""Key column → its value, in the contract's order."""


def read_key(contract: Contract, text: str) -> Key:
    """The key that a text names; raises RejectedError when it is none of this table's."""
    return typed_key(contract, _parts(contract, text))


def typed_key(contract: Contract, parts: Mapping[str, Any]) -> Key:
    """The key with each value as its column's type; raises RejectedError."""
    if parts.keys() != set(contract.key):
        raise RejectedError(f"A key of {contract.table} is {_example(contract)}.")
    return {name: _value(contract, name, parts[name]) for name in contract.key}


def _parts(contract: Contract, text: str) -> Mapping[str, Any]:
    if text.lstrip().startswith("{"):
        try:
            parts: dict[str, Any] = json.loads(text, parse_float=Decimal)
        except ValueError as error:
            raise RejectedError(f"The key {text} is no JSON object: {error}.") from error
        return parts
    names = "|".join(contract.key)
    if re.match(rf"({names})=", text):
        pieces = re.split(rf"(?:^|,)({names})=", text)[1:]
        return dict(zip(pieces[::2], pieces[1::2], strict=True))
    return dict(zip(contract.key, text.rsplit(",", len(contract.key) - 1), strict=False))


def _value(contract: Contract, name: str, value: Any) -> Any:
    kind = contract.column(name).kind
    try:
        return kind.from_key(value)
    except ValueError as error:
        raise RejectedError(
            f"{value!r} is no {kind.name} for {name}: a key is {_example(contract)}."
        ) from error


def _example(contract: Contract) -> str:
    return ",".join(f"{name}=…" for name in contract.key)
