"""Passwords are taken out of text, and the rest of the text stays."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.masking import mask, mask_value


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://ann:hunter2@db/lab", "postgresql://ann:***@db/lab"),
        ("mqtts://ann:p@ss/w0rd#x@broker:8883 is away", "mqtts://ann:***@broker:8883 is away"),
        ("redis://:hunter2@cache", "redis://:***@cache"),
        ("a=http://u:one@h,b=http://u:two@h", "a=http://u:***@h,b=http://u:***@h"),
        ("postgresql://ann@db/lab?password=hunter2&sslmode=require", None),
        ("host=db user=ann password='hunter 2' dbname=lab", "host=db user=ann password=*** dbname=lab"),
        ("{'user': 'ann', 'password': 'hunter2'}", "{'user': 'ann', 'password': ***}"),
        ('{"graph_password": "hun\\"ter2", "n": 1}', '{"graph_password": ***, "n": 1}'),
        ("Authorization: Bearer hunter2.abc", "Authorization: Bearer ***"),
        ("api_key=hunter2;", "api_key=***;"),
        ("batch 7 of mqtt://sensors/+/readings: 10 rows at 12:30:01", "same"),
        ("http://127.0.0.1:4200/api answered 200", "same"),
        ("authentication failed for user ann", "same"),
    ],
)
def test_mask(text: str, masked: str | None) -> None:
    found = mask(text)
    assert "hunter" not in found
    assert "w0rd" not in found
    assert mask(found) == found, "masking again changes nothing"
    if masked is not None:
        assert found == (text if masked == "same" else masked)


def test_a_known_secret_is_hidden_wherever_it_stands() -> None:
    assert mask("the answer was hunter2!", ["hunter2"]) == "the answer was ***!"
    assert mask("demo data", ["demo"]) == "demo data", "a short one would hide the log"


def test_values_are_masked_at_every_depth() -> None:
    value = {
        "servers": [{"dsn": "postgresql://a:hunter2@h", "port": 5432}],
        "password": "hunter2",
        "token": b"hunter2",
        "secret": SecretStr("hunter2"),
        "path": Path("a/b"),
        "error": ValueError("no login at mqtt://a:hunter2@h"),
        "none": None,
        "ok": True,
    }
    assert mask_value("event", value) == {
        "servers": [{"dsn": "postgresql://a:***@h", "port": 5432}],
        "password": "***",
        "token": "***",
        "secret": "***",
        "path": "a/b",
        "error": "no login at mqtt://a:***@h",
        "none": None,
        "ok": True,
    }
