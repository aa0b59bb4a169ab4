"""Each kind of bad input ends as a rejected record with its rules, or accepted by a documented coercion."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from tasks.batch import REJECTED_SCHEMA, Refined
from tests.fixtures.readings import READING, TOPIC, message

Refine = Callable[..., Refined]
Rules = Callable[..., list[str]]


def edited(old: str, new: str) -> bytes:
    """The good message with a piece of its text replaced."""
    text = message().decode()
    assert old in text
    return text.replace(old, new).encode()


def accepted(result: Refined) -> pl.DataFrame:
    assert result.rejected.is_empty(), result.rejected["message"].to_list()
    return result.accepted["sensor_readings"]


def test_a_good_message_breaks_no_rule(rules: Rules) -> None:
    assert rules(message()) == []


@pytest.mark.parametrize("payload", [b"{oops", b"hello", b"{} {}", b'{"a":1},', b"   ", b'{"device_id":"a"'])
def test_not_json(rules: Rules, payload: bytes) -> None:
    assert rules(payload) == ["payload.json"]


@pytest.mark.parametrize("payload", [b"[]", b"5", b'"text"', b"null", b"true", b"[" + message() + b"]"])
def test_json_that_is_not_an_object(rules: Rules, payload: bytes) -> None:
    assert rules(payload) == ["payload.object"]


def test_an_empty_payload(rules: Rules) -> None:
    assert rules(b"") == ["payload.empty"]


def test_a_byte_order_mark_is_not_json(rules: Rules) -> None:
    assert rules(b"\xef\xbb\xbf" + message()) == ["payload.json"]


def test_an_escaped_nul_character(rules: Rules) -> None:
    assert "device_id.nul" in rules(edited('"probe-1"', '"probe\\u0000-1"'))


def test_a_raw_nul_character_is_not_json(rules: Rules) -> None:
    assert rules(edited('"probe-1"', '"probe\x00-1"')) == ["payload.json"]


def test_a_nul_character_reaches_no_key(refined: Refine) -> None:
    rejected = refined(edited('"probe-1"', '"probe\\u0000-1"')).rejected
    assert rejected["key"].to_list() == [None]


def test_a_lone_surrogate_is_not_json(rules: Rules) -> None:
    assert rules(edited('"probe-1"', '"probe\\ud800"')) == ["payload.json"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400])
def test_nan_and_infinities(rules: Rules, number: str) -> None:
    assert rules(edited("21.5", number)) == ["temperature.finite"]


@pytest.mark.parametrize("number", ["NaN", "1e999", "9" * 400])
def test_a_number_that_is_not_finite_where_no_column_reads_it(rules: Rules, number: str) -> None:
    assert rules(edited('"temperature": 21.5', f'"temperature": 21.5, "battery": {number}')) == [
        "payload.json"
    ]


@pytest.mark.parametrize("value", ["21.5", True, [21.5], {"value": 21.5}, ""])
def test_a_number_is_a_number(rules: Rules, value: object) -> None:
    assert rules(message(temperature=value)) == ["temperature.type"]


@pytest.mark.parametrize("value", [5, 5.5, True, ["probe-1"], {"id": "probe-1"}])
def test_text_is_text(rules: Rules, value: object) -> None:
    assert rules(message(device_id=value)) == ["device_id.type"]


def test_an_integer_is_accepted_for_a_float(refined: Refine) -> None:
    assert accepted(refined(message(temperature=21)))["temperature"].to_list() == [21.0]


@pytest.mark.parametrize("missing", [..., None])
@pytest.mark.parametrize("name", ["device_id", "timestamp"])
def test_a_missing_required_field(rules: Rules, name: str, missing: object) -> None:
    assert rules(message(**{name: missing})) == [f"{name}.required"]


@pytest.mark.parametrize("missing", [..., None])
@pytest.mark.parametrize("name", ["temperature", "humidity", "pressure", "location"])
def test_a_missing_optional_field_is_null(refined: Refine, name: str, missing: object) -> None:
    row = accepted(refined(message(**{name: missing})))
    assert row["latitude" if name == "location" else name].to_list() == [None]


def test_extra_fields_are_ignored(refined: Refine) -> None:
    extra = {"battery": 3.1, "tags": ["a", {"b": None}], "nested": {"temperature": "hot"}}
    with_extra, without = refined(message(**extra)), refined(message())
    assert accepted(with_extra).equals(accepted(without))


def test_an_empty_object_names_every_required_field(rules: Rules) -> None:
    assert rules(b"{}") == ["device_id.required", "timestamp.required"]


def test_a_name_that_comes_twice_the_last_wins(refined: Refine) -> None:
    twice = edited('"temperature": 21.5', '"temperature": 1, "temperature": 22')
    assert accepted(refined(*[twice] * 500))["temperature"].to_list() == [22.0]


@pytest.mark.parametrize(
    "text", ["2026-11-21T11:59:58", "2026-11-21 11:59:58.5", "2026-11-21t11:59:58.123456789"]
)
def test_a_timestamp_without_zone(rules: Rules, text: str) -> None:
    assert rules(message(timestamp=text)) == ["timestamp.zone"]


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-11-21", "2026-02-30T00:00:00Z", "2026-11-21T11:59Z", "2026-11-21T11:59:60Z",
     "2026-11-21T25:00:00Z", "2026-11-21T11:59:58+25:00", "1764000000", " 2026-11-21T11:59:58Z",
     "2026-11-21T11:59:58Z\n", "2026-11-21T1\uff11:59:58Z", "2026-11-21T 1:59:58Z", "2026-11-21T11:59:58.Z"],
)  # fmt: skip
def test_a_timestamp_that_is_none(rules: Rules, text: str) -> None:
    assert rules(message(timestamp=text)) == ["timestamp.format"]


@pytest.mark.parametrize(
    ("given", "microsecond"),
    [(1795262398, 0), (1795262398.5, 500_000), (1795262398123, 123_000), (1795262398123.4, 123_400)],
)
def test_seconds_and_milliseconds_are_told_apart(refined: Refine, given: float, microsecond: int) -> None:
    expected = datetime(2026, 11, 21, 11, 59, 58, microsecond, tzinfo=UTC)
    assert accepted(refined(message(timestamp=given)))["timestamp"].to_list() == [expected]
    assert accepted(refined(*[message(timestamp=given)] * 500))["timestamp"].to_list() == [expected]


@pytest.mark.parametrize("given", [0, -5, 42, 99_999_999, 1e14, 1.8e15, 10**30])
def test_a_number_that_is_no_time(rules: Rules, given: float) -> None:
    assert rules(message(timestamp=given)) == ["timestamp.unit"]


@pytest.mark.parametrize("given", [True, [1795262398], {"s": 1795262398}])
def test_a_timestamp_of_another_type(rules: Rules, given: object) -> None:
    assert rules(message(timestamp=given)) == ["timestamp.type"]


@pytest.mark.parametrize("given", ["2036-01-01T00:00:00Z", "2026-11-22T12:00:00.000001Z", 1_900_000_000_000])
def test_a_timestamp_far_in_the_future(rules: Rules, given: object) -> None:
    assert rules(message(timestamp=given)) == ["timestamp.furthest"]


@pytest.mark.parametrize("given", ["1970-01-01T00:00:00Z", "0000-01-01T00:00:00Z", 100_000_000])
def test_a_timestamp_too_old(rules: Rules, given: object) -> None:
    assert rules(message(timestamp=given)) == ["timestamp.oldest"]


def test_a_timestamp_a_day_ahead_is_still_taken(rules: Rules) -> None:
    assert rules(message(timestamp="2026-11-22T12:00:00Z")) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 100.1), ("temperature", -50.1), ("humidity", -0.1), ("humidity", 101), ("pressure", 799),
     ("pressure", 1201), ("temperature", 1e300)],
)  # fmt: skip
def test_a_value_out_of_range(rules: Rules, name: str, value: float) -> None:
    assert rules(message(**{name: value})) == [f"{name}.range"]


@pytest.mark.parametrize(("name", "value"), [("temperature", -50), ("temperature", 100), ("humidity", 0)])
def test_the_ends_of_a_range_are_taken(rules: Rules, name: str, value: float) -> None:
    assert rules(message(**{name: value})) == []


@pytest.mark.parametrize(
    "location", [{"latitude": 1.0}, {"longitude": 1.0}, {"latitude": 1.0, "longitude": None}]
)
def test_half_a_location(rules: Rules, location: dict[str, Any]) -> None:
    assert rules(message(location=location)) == ["location.incomplete"]


def test_coordinates_that_are_not_on_earth(rules: Rules) -> None:
    location = {"latitude": 90.5, "longitude": -181}
    assert rules(message(location=location)) == ["latitude.range", "longitude.range"]


@pytest.mark.parametrize("location", ["here", [48.1, 11.5], 5, True])
def test_a_location_that_is_no_object(rules: Rules, location: object) -> None:
    assert rules(message(location=location)) == ["location.type"]


def test_one_unreadable_coordinate_is_not_called_missing(rules: Rules) -> None:
    assert rules(message(location={"latitude": "48", "longitude": 11})) == ["latitude.type"]


def test_an_empty_device_id(rules: Rules) -> None:
    assert rules(message(device_id=""), "sensors//readings") == ["topic.pattern", "device_id.min_length"]


def test_a_long_device_id(rules: Rules) -> None:
    name = "é" * 257
    assert rules(message(device_id=name), f"sensors/{name}/readings") == ["device_id.max_length"]
    assert rules(message(device_id=name[:256]), f"sensors/{name[:256]}/readings") == []


def test_a_payload_of_1_mb(refined: Refine, rules: Rules) -> None:
    result = refined(message(note="x" * 1_000_000), message())
    assert result.rejected["rules"].to_list() == [["payload.size"]]
    assert result.accepted["sensor_readings"].height == 1


def test_a_payload_just_small_enough(refined: Refine) -> None:
    room = 65536 - len(message(note=""))
    assert accepted(refined(message(note="x" * room))).height == 1
    assert refined(message(note="x" * (room + 1))).rejected["rules"].to_list() == [["payload.size"]]


@pytest.mark.parametrize("spoilt", [b"\xff", b"\xc3", b"\xed\xa0\x80"])
def test_invalid_utf8(rules: Rules, spoilt: bytes) -> None:
    assert rules(message().replace(b"probe", b"pro" + spoilt)) == ["payload.utf8"]


@pytest.mark.parametrize(
    "topic",
    ["sensors/probe-1", "sensors/probe-1/status", "other", "", "sensors/a/b/readings", "/sensors/a/readings"],
)
def test_a_topic_that_matches_nothing(rules: Rules, topic: str) -> None:
    assert rules(message(), topic) == ["topic.pattern"]


def test_a_topic_that_a_device_id_pretends(rules: Rules) -> None:
    assert rules(message(device_id="a/b"), "sensors/a/b/readings") == ["topic.pattern"]


def test_a_topic_of_another_device(rules: Rules) -> None:
    assert rules(message(), "sensors/probe-2/readings") == ["topic.device_id"]


def test_what_cannot_be_decoded_names_a_wrong_topic_too(rules: Rules) -> None:
    assert rules(b"{oops", "other") == ["payload.json", "topic.pattern"]


def test_deep_nesting(rules: Rules) -> None:
    deep = "[" * 20_000 + "]" * 20_000
    assert rules(edited("21.5", f'21.5, "x": {deep}')) == ["payload.json"]


@pytest.mark.parametrize("spaces", [b"\n", b"\r\n", b"\t "])
def test_white_space_within_a_message(refined: Refine, spaces: bytes) -> None:
    spread = message().replace(b", ", b"," + spaces) + spaces
    assert accepted(refined(*[spread] * 500))["temperature"].to_list() == [21.5]


def test_every_broken_rule_is_named_in_order(rules: Rules) -> None:
    bad = message(temperature=200, humidity="wet", timestamp="2026-11-21T11:59:58", location={"latitude": 99})
    assert rules(bad, "sensors/probe-2/readings") == [
        "topic.device_id", "timestamp.zone", "temperature.range", "humidity.type", "latitude.range",
        "location.incomplete",
    ]  # fmt: skip


def test_a_rejected_record_says_what_it_was(refined: Refine) -> None:
    rejected = refined(message(), message(temperature=200, humidity=-1)).rejected
    assert rejected.schema == REJECTED_SCHEMA
    row = rejected.row(0, named=True)
    assert (row["sequence"], row["stage"], row["error_type"]) == (1, "validate", "range")
    assert row["message"] == "temperature is outside -50 to 100 °C; humidity is outside 0 to 100 %."
    assert row["table"] == "sensor_readings"
    assert row["key"] == '{"device_id":"probe-1","timestamp":"2026-11-21T11:59:58.123456Z"}'
    assert isinstance(row["input_hash"], int)


def test_what_was_not_wholly_read_has_no_hash(refined: Refine) -> None:
    row = refined(message(temperature="hot")).rejected.row(0, named=True)
    assert row["input_hash"] is None
    assert json.loads(row["key"])["device_id"] == "probe-1"


def test_what_was_not_decoded_has_neither_key_nor_hash(refined: Refine) -> None:
    row = refined(b"{oops").rejected.row(0, named=True)
    assert (row["stage"], row["error_type"], row["key"], row["input_hash"]) == ("decode", "json", None, None)


def test_none_of_them_stops_the_others(refined: Refine) -> None:
    bad = [b"", b"{oops", b"\xff", b"[]", message(temperature=None, humidity="x"), b"x" * 70_000, b"\n\n"]
    good = [message(timestamp=f"2026-11-21T11:00:{second:02}Z") for second in range(60)]
    result = refined(*[part for pair in zip(good, bad * 10, strict=False) for part in pair])
    assert result.accepted["sensor_readings"]["sequence"].to_list() == list(range(0, 120, 2))
    assert result.rejected["sequence"].to_list() == list(range(1, 120, 2))


def test_an_empty_batch(refined: Refine) -> None:
    result = refined()
    assert (result.read, result.rejected.height, result.accepted["sensor_readings"].height) == (0, 0, 0)


def test_the_topic_of_the_samples_is_theirs() -> None:
    assert f"sensors/{READING['device_id']}/readings" == TOPIC
