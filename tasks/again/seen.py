"""Whether what a recall is about was ever seen: a typo is no empty answer."""

from lineage import naming
from lineage.errors import NotFoundError
from lineage.ports import Connection
from tasks.again.recall import Selection

_SEEN = {
    "device": "SELECT FROM store.subjects WHERE kind = 'device' AND id = $1 "
    "UNION ALL SELECT FROM store.devices WHERE device_id = $1",
    "experiment": "SELECT FROM store.subjects WHERE kind = 'experiment' AND id = $1",
    "batch": "SELECT FROM store.ledger WHERE batch = $1",
    "file": "SELECT FROM store.ledger WHERE position ->> 'path' = $1 OR dataset = $2",
    "transformation": "SELECT FROM store.ledger WHERE transformation_id = $1",
}
"""Where each thing one may choose is written down when it is first seen."""
_CALLED = {"transformation": "version"}


async def refuse_unknown(connection: Connection, selection: Selection) -> None:
    """Raise NotFoundError when something of the selection was never seen."""
    chosen = {name: value for name in _SEEN if (value := getattr(selection, name)) is not None}
    for name, value in chosen.items():
        more = [naming.file(str(value))] if name == "file" else []
        if not await connection.fetchval(f"SELECT EXISTS ({_SEEN[name]})", value, *more):
            raise NotFoundError(f"Nothing was ever stored of {_CALLED.get(name, name)} {value}.")
