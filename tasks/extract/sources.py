"""Every kind of source by what a pipeline may say of it: one file in this folder and one line here.

Or no line: `type: module:Class`, a class of yours that keeps the port of `pull.py` or of `stream.py`.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import reduce
from importlib import import_module
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Discriminator, Tag, WithJsonSchema, WrapValidator
from pydantic_core import PydanticCustomError

from lineage import naming
from tasks.contract import Frozen
from tasks.extract.file_stream import FileStream
from tasks.extract.kafka import KafkaOptions
from tasks.extract.mqtt import MqttOptions
from tasks.extract.opentrons import RobotOptions
from tasks.extract.pull import Pull
from tasks.extract.source import Source
from tasks.extract.stream import Stream

KINDS: Final[Mapping[str, type[Frozen]]] = {
    "mqtt": MqttOptions,
    "kafka": KafkaOptions,
    "files": FileStream,
    "opentrons": RobotOptions,
}
_OWN: Final = "module:Class"
_SCHEMA: Final = {
    "type": "object",
    "description": "A class of yours that keeps the port of tasks/extract/pull.py or stream.py",
    "properties": {"type": {"type": "string", "pattern": r"^[\w.]+:\w+$"}},
    "required": ["type"],
}


def _is_known(said: object) -> object:
    """It names its kind, and there is one."""
    if isinstance(said, Mapping) and ":" not in (kind := str(said.get("type", ""))) and kind not in KINDS:
        near = get_close_matches(kind, KINDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(KINDS)}, or {_OWN}"
        raise _refused(f"there is no source {kind}: {hint}" if kind else f"say of which `type` it is: {hint}")
    return said


def _kind(said: object) -> str:
    kind = str(said.get("type")) if isinstance(said, Mapping) else str(getattr(said, "type", ""))
    return kind if kind in KINDS else _OWN


def _own(said: Any, _validate: object) -> Source:
    """A source of a class of one's own, which calls its dataset as none of ours is called."""
    found = said if isinstance(said, Source) else _class(said["type"]).model_validate(said)
    try:
        names = (found.dataset, *found.datasets(()))
    except Exception as error:  # whatever a class of a user's does, the other pipelines are read
        raise _refused(f"the dataset of {found.type} has no name: {_said(error)}") from error
    if ours := next((name for name in names if naming.is_ours(name)), None):
        scheme = ours.partition(":")[0]
        raise _refused(
            f"{found.type} calls its dataset {ours}, and {scheme}: is a scheme of ours: use another"
        )
    return found


def _class(name: str) -> type[Source]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # the same, of a module
        raise _refused(f"the source {name} cannot be loaded: {_said(error)}") from error
    if not (isinstance(found, type) and issubclass(found, (Pull, Stream))):
        raise _refused(
            f"the source {name} is no class of tasks.extract.pull.Pull or tasks.extract.stream.Stream: "
            "let it be one"
        )
    return found


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _refused(why: str) -> PydanticCustomError:
    return PydanticCustomError("contract", "{said}", {"said": why})


if TYPE_CHECKING:
    SourceOptions: TypeAlias = Source
else:
    _Own = Annotated[Source, WrapValidator(_own), WithJsonSchema(_SCHEMA), Tag(_OWN)]
    _Any = reduce(or_, (Annotated[kind, Tag(name)] for name, kind in KINDS.items()))
    SourceOptions = Annotated[_Any | _Own, Discriminator(_kind), BeforeValidator(_is_known)]
