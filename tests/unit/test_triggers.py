"""What a trigger's file may say, and what a message asks of it."""

from pathlib import Path
from typing import Any

import pytest

from flows import catalog
from flows.catalog import Catalog
from infra.connection import NAME
from tasks.transform.event import judge
from tasks.trigger import CONNECTION, Asked, Refused, TriggerDefinition
from tests.fixtures import catalogs
from tests.fixtures.triggers import READY

TOPIC = "lab/rack-3/ready"


def of(**change: Any) -> TriggerDefinition:
    return TriggerDefinition.model_validate(READY | change)


def read(directory: Path) -> Catalog:
    return catalog.read_directories((directory,))


def test_parameters_are_read_from_topic_and_payload_exactly() -> None:
    parameters = {
        "rack": {"from": {"topic": "rack"}},
        "dotted": {"from": ["a.b", "c"]},
        "number": {"from": "n"},
        "nothing": {"from": "none"},
        "site": {"constant": {"hall": [1, None]}},
    }
    payload = b'{"a.b": {"c": [1.5, "\xc2\xb5"]}, "n": 123456789012345678901234567890, "none": null}'
    assert judge(of(parameters=parameters), TOPIC, payload) == Asked(
        parameters={
            "rack": "rack-3",
            "dotted": [1.5, "µ"],
            "number": 123456789012345678901234567890,
            "nothing": None,
            "site": {"hall": [1, None]},
        },
        key=None,
    )


def test_a_trigger_of_a_named_broker_reads_another_dataset() -> None:
    assert CONNECTION == NAME
    when = {"type": "mqtt", "topic": "lab/{rack}/ready", "connection": "plant-2"}
    assert of(when=when).when.dataset == "mqtt+plant-2:lab/+/ready"


def test_where_nothing_is_read_from_the_payload_it_may_be_anything() -> None:
    trigger = of(parameters={"rack": {"from": {"topic": "rack"}}}, key={"topic": "rack"})
    assert judge(trigger, TOPIC, b"\xff on") == Asked(parameters={"rack": "rack-3"}, key='["rack-3"]')


@pytest.mark.parametrize(
    ("topic", "payload", "rules"),
    [
        ("lab/rack-3", b"{}", ("topic.pattern",)),
        ("lab//ready", b"{}", ("topic.pattern",)),
        (TOPIC, b"", ("payload.json",)),
        (TOPIC, b"[" * 100_000, ("payload.json",)),
        (TOPIC, b'{"batch": {"id": NaN}}', ("payload.json",)),
        (TOPIC, b" " * 1_048_577, ("payload.size",)),
        (TOPIC, b"7", ("payload.object",)),
        (TOPIC, b'{"batch": "b-7"}', ("batch.missing", "key.missing")),
        (TOPIC, b'{"batch": {"id": null}}', ("key.missing",)),
        (TOPIC, b'{"batch": {"id": {"\\u0000": 1}}}', ("batch.text", "key.text")),
        (TOPIC, b'{"batch": {"id": [-1e400]}}', ("batch.finite", "key.finite")),
    ],
)
def test_every_broken_rule_is_named(topic: str, payload: bytes, rules: tuple[str, ...]) -> None:
    found = judge(of(key="batch.id"), topic, payload)
    assert isinstance(found, Refused)
    assert found.rules == rules
    assert found.message.endswith(".")


def test_a_key_is_the_same_however_its_json_is_written() -> None:
    trigger = of(key=["batch", {"topic": "rack"}])
    one, other = b'{"batch": {"id": 1, "x": 2}}', b'{ "batch":{"x":2,"id":1} }'
    assert judge(trigger, TOPIC, one) == judge(trigger, TOPIC, other)


@pytest.mark.parametrize(
    ("ones", "others"),
    [
        (["1", "1.0", "1e0", "10e-1"], ["1.5", "-1", "true", '"1"', "[1]"]),
        (["0", "-0", "0.0", "-0.0"], ["false", '""', "[]"]),
        (['{"a": [2.0]}', '{"a": [2]}'], ['{"a": [2.5]}', '{"a": 2}']),
        (["9007199254740993"], ["9007199254740992"]),
        (["9007199254740992", "9007199254740993.0"], ["9007199254740993"]),  # with a point it is a double
        (["1e22", "10000000000000000000000"], ["1e23"]),
    ],
)
def test_numbers_of_a_key_are_the_same_where_json_has_one_number(ones: list[str], others: list[str]) -> None:
    def key(said: str) -> str:
        found = judge(of(key="k", parameters={}), TOPIC, f'{{"k": {said}}}'.encode())
        assert isinstance(found, Asked)
        return str(found.key)

    assert len({key(said) for said in ones}) == 1
    assert len({key(said) for said in [ones[0], *others]}) == 1 + len(others)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ownr": "me"}, "did you mean owner?"),
        ({"run": "totals"}, "run: String should match pattern"),
        ({"parameters": {"rack": {"from": {"topic": "rak"}}}}, "rak is no level of the topic"),
        ({"key": [{"topic": "rak"}]}, "did you mean rack?"),
        ({"parameters": {"rack": {}}}, "say one of the two: `from`, or `constant`"),
        ({"parameters": {"rack": {"from": "a", "constant": 1}}}, "say one of the two"),
        ({"parameters": {"rack": {"from": "a..b"}}}, "'a..b' is no path"),
        ({"parameters": {"a rack": {"constant": 1}}}, "String should match pattern"),
        ({"parameters": {"rack": {"constant": float("nan")}}}, "not JSON compliant"),
        ({"when": {"type": "mqtt", "topic": "lab/#/x"}}, "# stands for a level"),
        ({"when": {"type": "mqqt", "topic": "lab"}}, "did you mean mqtt?"),
    ],
)
def test_a_wrong_file_is_left_out_and_told_with_its_place(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = catalogs.written(tmp_path / "ready" / "trigger.yaml", READY | change)
    catalogs.written(tmp_path / "other" / "trigger.yaml", READY)
    found = read(tmp_path)
    assert list(found.triggers) == ["other"]
    (broken,) = found.broken
    assert (broken.kind, broken.name, broken.path) == ("trigger", "ready", path)
    assert broken.why.startswith(f"{path}: line ")
    assert said in broken.why


def test_two_triggers_of_one_name_are_refused_with_both_paths(tmp_path: Path) -> None:
    first = catalogs.written(tmp_path / "a" / "triggers" / "ready.yaml", READY)
    second = catalogs.written(tmp_path / "ready" / "trigger.yaml", READY)
    found = read(tmp_path)
    assert list(found.triggers) == ["ready"]
    (broken,) = found.broken
    assert broken.why == (
        f"{second}: there is a trigger ready already, in {first}: give one of the two another name."
    )
