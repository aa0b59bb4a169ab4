"""Which code of ours a version covers: what decides a value, or what is said of where a column comes from."""

from collections.abc import Callable
from typing import Any, Final

from lineage.model import Transformation
from lineage.version import transformation_of

OURS: Final = ("tasks", "lineage")
"""The packages whose modules count, where a transform imports them."""

DECIDES_NOTHING: Final = frozenset(
    {
        "lineage.apart",  # how others' names begin
        "lineage.errors",  # what is raised, never what is stored
        "lineage.model",  # the words of the record
        "lineage.naming",  # how sources are called
        "lineage.ports",
        "lineage.version",
        "tasks.contract_names",  # which names of tables and columns are refused
        "tasks.followed",  # how far a file was read
        "tasks.our_code",
        "tasks.table_definition",  # how a contract is read: the contract itself is a part of the version
        "tasks.yaml_file",
    }
)
"""Those of them that are left out: a source, an error or a table more is no new version of anything."""


def of_act(function: Callable[..., Any], name: str) -> Transformation:
    """What an act of a person is done by."""
    return transformation_of(function, name=name, within=("tasks",), without=DECIDES_NOTHING, parameters={})
