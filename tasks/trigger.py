"""A trigger as people write it: which message starts a run of which deployment, and with what.

trigger.yaml ─▶ Trigger        a message ─tasks/transform/event.py─▶ Asked, or Refused
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from lineage import naming
from tasks.batch import RawBatch
from tasks.contract import Frozen, Name
from tasks.pattern import Pattern, topic_filter, topic_pattern

NAME: Final = r"^[a-z][a-z0-9-]{0,62}$"
CONNECTION: Final = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
"""As `infra/connection.py` has it, which what is pure cannot import."""
LARGEST: Final = 1_048_576
"""Bytes of a message; a longer one is rejected unread."""


def _is_topic(said: str) -> str:
    topic_pattern(said)
    return said


class MqttWhen(Frozen):
    """A message on a topic; a level of it may have a name."""

    type: Literal["mqtt"]
    topic: Annotated[str, AfterValidator(_is_topic)] = Field(min_length=1)
    connection: Annotated[str, Field(pattern=CONNECTION, max_length=40)] | None = None  # unset: the settings'
    retained: bool = False  # whether a message that the broker kept from before starts something

    @property
    def dataset(self) -> str:
        """Its name: the topic filter, without names in it."""
        return naming.mqtt(self.topic_filter, self.connection)

    @property
    def topic_filter(self) -> str:
        return topic_filter(self.topic)

    @property
    def pattern(self) -> Pattern:
        return topic_pattern(self.topic)


class TopicLevel(Frozen):
    """A named level of the topic."""

    topic: Name


def _is_path(said: str) -> str:
    if not all(said.split(".")):
        wrong = f"{said!r} is no path: write names with dots between them"
        raise PydanticCustomError("contract", "{said}", {"said": wrong})
    return said


From = Annotated[str, AfterValidator(_is_path)] | tuple[Annotated[str, Field(min_length=1)], ...] | TopicLevel
"""Where a value stands: a path with dots in the payload, a list of names, or `{topic: NAME}`."""


def _is_json(said: JsonValue) -> JsonValue:
    json.dumps(said, allow_nan=False)  # YAML has numbers that JSON has not
    return said


class Parameter(Frozen):
    """One parameter of the flow: read from the message, or the same every time."""

    from_: From | None = Field(default=None, alias="from", description="A path, a list of names, {topic: …}")
    constant: Annotated[JsonValue, AfterValidator(_is_json)] = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.from_ is None) == ("constant" not in self.model_fields_set):
            said = "say one of the two: `from`, or `constant`"
            raise PydanticCustomError("contract", "{said}", {"said": said})
        return self


def _listed(said: object) -> object:
    return [said] if isinstance(said, str | dict) else said


class TriggerDefinition(Frozen):
    """What starts a run of a deployment; its name is that of its file."""

    model_config = ConfigDict(title="Trigger")

    doc: str = Field(min_length=1)
    owner: str = Field(min_length=1)  # whom to ask
    when: MqttWhen
    run: str = Field(pattern=r"^[^/%&<>]+/[^/%&<>]+$", description="FLOW/DEPLOYMENT, as Prefect names it")
    parameters: Mapping[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Parameter] = {}
    key: Annotated[tuple[From, ...], BeforeValidator(_listed)] = Field(
        default=(), description="The same again on the same topic starts nothing; unset: every message is one"
    )

    @model_validator(mode="after")
    def _levels_are_named(self) -> Self:
        for place, of in self._places():
            if isinstance(of, TopicLevel) and of.topic not in self.when.pattern.names:
                raise PydanticCustomError(
                    "contract", "{said}", {"said": self._no_level(of.topic), "place": place}
                )
        return self

    def _places(self) -> Iterator[tuple[Sequence[str | int], From | None]]:
        for name, parameter in self.parameters.items():
            yield ("parameters", name, "from", "topic"), parameter.from_
        for number, of in enumerate(self.key):
            yield ("key", number, "topic"), of

    def _no_level(self, level: str) -> str:
        names = self.when.pattern.names
        nearest = get_close_matches(level, names, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"write {{{level}}} where it stands"
        return f"{level} is no level of the topic {self.when.topic}: {hint}"


class Trigger(TriggerDefinition):
    """A trigger of the catalog."""

    name: str = Field(pattern=NAME)

    @property
    def reader(self) -> str:
        """What the ledger and rejected records call it; no pipeline is called so."""
        return f"{READER}{self.name}"


READER: Final = "trigger:"
"""How it begins."""


def said_of(of: From) -> str:
    """Where a value stands, for a person."""
    if isinstance(of, TopicLevel):
        return f"{{{of.topic}}} in its topic"
    return of if isinstance(of, str) else ".".join(of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as it was delivered; `id` is made then, so that its commit is found again by it."""

    id: UUID
    raw: RawBatch  # of this message alone
    topic: str
    payload: bytes
    client_id: str
    packet_id: int  # 0: of QoS 0, which is not acknowledged
    repeated: bool  # the broker says that it may have delivered it before, in this session
    retained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an event asks for. `key`: canonical JSON of what makes it unique; None: it is by being there."""

    parameters: Mapping[str, Any]
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Every rule that a message broke, and one sentence about it."""

    rules: tuple[str, ...]
    message: str


Verdict = Asked | Refused
