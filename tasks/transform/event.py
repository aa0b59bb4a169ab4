"""What a message asks of a trigger: parameters from its topic and payload, or the rules that it broke.

Pure: the same message gets the same verdict, whatever came before it.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import polars as pl
from pydantic_core import from_json

from lineage.apart import is_stored
from lineage.canonical import canonical_json
from tasks.trigger import LARGEST, Asked, From, Refused, TopicLevel, TriggerDefinition, Verdict, said_of

_MISSING: Final = object()


class _Unread(Exception):  # noqa: N818 - no error: a verdict on its way
    """Why nothing of a message is read."""

    def __init__(self, rule: str, said: str) -> None:
        super().__init__(said)
        self.rule = rule


def judge(trigger: TriggerDefinition, topic: str, payload: bytes) -> Verdict:
    """The verdict on a message of the trigger's subscription."""
    try:
        levels = _levels(trigger, topic)
        record = _record(payload) if _reads_payload(trigger) else {}
    except _Unread as why:
        return Refused(rules=(why.rule,), message=f"{why}.")
    parameters, wrong = {}, dict[str, str]()
    for name, parameter in trigger.parameters.items():
        parameters[name] = parameter.constant
        if parameter.from_ is not None:
            parameters[name] = _value(parameter.from_, levels, record)
            wrong |= _faults(name, parameter.from_, parameters[name])
    key = [_value(of, levels, record) for of in trigger.key]
    for of, value in zip(trigger.key, key, strict=True):
        wrong |= _faults("key", of, _MISSING if value is None else value)
    if wrong:
        return Refused(rules=tuple(wrong), message=f"{'; '.join(wrong.values())}.")
    return Asked(parameters=parameters, key=canonical_json(_as_numbers(key)) if key else None)


def _as_numbers(value: Any) -> Any:
    """The same with every number written in one way: in JSON 1.0 and 1 are one number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _as_numbers(held) for name, held in value.items()}
    return [_as_numbers(held) for held in value] if isinstance(value, list) else value


def _levels(trigger: TriggerDefinition, topic: str) -> Mapping[str, str]:
    """Each named level of the topic; raises _Unread where the topic is none of the trigger's."""
    pattern, location = trigger.when.pattern, pl.lit(topic)
    parts = [pattern.part(location, name).alias(name) for name in pattern.names]
    found = pl.select(pattern.fits(location).alias(" fits"), *parts).row(0, named=True)
    if not found.pop(" fits"):
        raise _Unread("topic.pattern", f"the topic does not fit {trigger.when.topic}")
    return found


def _reads_payload(trigger: TriggerDefinition) -> bool:
    """Whether something is read from the payload: else it may be anything."""
    read = [*(parameter.from_ for parameter in trigger.parameters.values()), *trigger.key]
    return any(isinstance(of, str | tuple) for of in read)


def _record(payload: bytes) -> Mapping[str, Any]:
    if len(payload) > LARGEST:
        raise _Unread("payload.size", f"the message is longer than {LARGEST:,} bytes")
    try:
        record = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        raise _Unread("payload.json", f"the message is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise _Unread("payload.object", "the message is JSON but not an object")
    return record


def _value(of: From, levels: Mapping[str, str], record: Mapping[str, Any]) -> Any:
    """What stands there, `_MISSING` where nothing does; a null is something."""
    if isinstance(of, TopicLevel):
        return levels[of.topic]
    found: Any = record
    for name in of.split(".") if isinstance(of, str) else of:
        if not isinstance(found, dict) or name not in found:
            return _MISSING
        found = found[name]
    return found


def _faults(name: str, of: From, value: Any) -> Mapping[str, str]:
    """The rules that a value breaks, each with a sentence."""
    if value is _MISSING:
        return {f"{name}.missing": f"{name} is missing: the message has no {said_of(of)}"}
    if not all(is_stored(text) for text in _texts(value)):
        return {f"{name}.text": f"{name} has a character that no database stores"}
    if not all(math.isfinite(number) for number in _floats(value)):
        return {f"{name}.finite": f"{name} is not a finite number"}
    return {}


def _parts(value: Any) -> Iterator[Any]:
    """A value, and all that stands in it; a message is at most 200 levels deep."""
    yield value
    if isinstance(value, dict):
        for name, held in value.items():
            yield name
            yield from _parts(held)
    elif isinstance(value, list):
        for held in value:
            yield from _parts(held)


def _texts(value: Any) -> Iterator[str]:
    return (part for part in _parts(value) if isinstance(part, str))


def _floats(value: Any) -> Iterator[float]:
    return (part for part in _parts(value) if isinstance(part, float))
