"""Every kind of source by what a pipeline may say of it: one file in this folder and one line here.

Or no line: `type: module:Class`, a class of yours that keeps the port of `pull.py`.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Discriminator, Tag, WithJsonSchema, WrapValidator
from pydantic_core import PydanticCustomError

from tasks.extract.files import FileOptions
from tasks.extract.kafka import KafkaOptions
from tasks.extract.mqtt import MqttOptions
from tasks.extract.opentrons import RobotOptions
from tasks.extract.pull import Pull

KINDS: Final = ("mqtt", "kafka", "files", "opentrons")
_OWN: Final = "module:Class"
_SCHEMA: Final = {
    "type": "object",
    "description": "A class of yours that keeps the port of tasks/extract/pull.py",
    "properties": {"type": {"type": "string", "pattern": r"^[\w.]+:\w+$"}},
    "required": ["type"],
}


def _is_known(said: object) -> object:
    """It names its kind, and there is one."""
    if isinstance(said, Mapping) and ":" not in (kind := str(said.get("type", ""))) and kind not in KINDS:
        near = get_close_matches(kind, KINDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(KINDS)}, or {_OWN}"
        why = f"there is no source {kind}: {hint}" if kind else f"say of which `type` it is: {hint}"
        raise PydanticCustomError("contract", "{said}", {"said": why})
    return said


def _kind(said: object) -> str:
    kind = str(said.get("type")) if isinstance(said, Mapping) else str(getattr(said, "type", ""))
    return kind if kind in KINDS else _OWN


def _own(said: Any, _validate: object) -> Pull:
    """A source of a class of one's own."""
    return said if isinstance(said, Pull) else _class(said["type"]).model_validate(said)


def _class(name: str) -> type[Pull]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # whatever a module of a user's does, the other pipelines are read
        why = f"the source {name} cannot be loaded: {type(error).__name__}: {error}"
        raise PydanticCustomError("contract", "{said}", {"said": why}) from error
    if not (isinstance(found, type) and issubclass(found, Pull)):
        why = f"the source {name} is no class of tasks.extract.pull.Pull: let it be one"
        raise PydanticCustomError("contract", "{said}", {"said": why})
    return found


SourceOptions = Annotated[
    Annotated[MqttOptions, Tag("mqtt")]
    | Annotated[KafkaOptions, Tag("kafka")]
    | Annotated[FileOptions, Tag("files")]
    | Annotated[RobotOptions, Tag("opentrons")]
    | Annotated[Pull, WrapValidator(_own), WithJsonSchema(_SCHEMA), Tag(_OWN)],
    Discriminator(_kind),
    BeforeValidator(_is_known),
]
