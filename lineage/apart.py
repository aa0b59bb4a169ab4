"""What others say, kept apart from what we say: names that nothing of ours has, and facts that never change.

    openlineage:{namespace}/{name}     a dataset or a job of an OpenLineage event
    headwater:{store}/{its name}       whatever another Headwater's export tells
    prefect:{key}                      an asset or a flow that a Prefect server tells of

What somebody else says can only add. So a node of theirs never has the key of one of ours, and its facts
follow from its key alone: said again, by whomever, they are the same. All else is said of relationships,
whose first record counts. An edge that was imported says who told it (`TOLD_BY`), see `projection.py`.
"""

from urllib.parse import quote
from uuid import UUID, uuid5

from .model import Node, NodeKind, Transformation

OPENLINEAGE = "openlineage:"
HEADWATER = "headwater:"
PREFECT = "prefect:"
OTHERS = (OPENLINEAGE, HEADWATER, PREFECT)
"""How the names of datasets and transformations of others begin."""

TOLD_BY = "told_by"
"""The fact of an imported edge that names who told it; imports of earlier versions have none, as our own."""

LONGEST_KEY = 2_000
"""Bytes of a key that others may send; the graph's indexes would hold more (`form.LONGEST_KEY`)."""

_RUNS = UUID("0b6c9d3e-5a51-5a0f-8f0e-3f1c64c2a7d4")  # the namespace of the ids of others' runs


def is_theirs(key: str) -> bool:
    """Whether a dataset, or a part of one, is of a namespace of others."""
    return key.startswith(OTHERS)


def run_id(sender: str, identity: str) -> UUID:
    """The id under which a run of others is recorded: one of ours it can never be."""
    return uuid5(_RUNS, f"{sender}\n{identity}")


def column(uri: str, name: str) -> Node:
    """A column of a dataset. Of others', the key can be read back: `a.b` of `x` is not `b` of `x.a`."""
    quoted = name.replace("%", "%25").replace(".", "%2E") if is_theirs(uri) else name
    return Node(NodeKind.COLUMN, f"{uri}.{quoted}", {"dataset": uri, "column": name})


def transformation(name: str, version: str) -> Transformation:
    """Code of others at a version; the last @ of its id is the one before the version."""
    return Transformation(name=name, version=version.replace("%", "%25").replace("@", "%40"))


def of_sender(sender: str) -> str:
    """How every name begins that another Headwater's export tells; `sender` is its store."""
    return f"{HEADWATER}{quote(sender, safe='')}/"


def fits_a_key(text: str) -> bool:
    """Whether Postgres and the graph take it as a key: no NUL, no half a surrogate pair, not too long."""
    return is_stored(text) and len(text.encode()) <= LONGEST_KEY


def is_stored(text: str) -> bool:
    """Whether Postgres and the graph take it as a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
