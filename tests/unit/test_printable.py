"""What comes from outside, made safe to be shown."""

import json
import logging
import sys
import unicodedata

import pytest
import structlog

from infra.logs import configure
from infra.printable import markdown, printable, printable_json
from infra.settings import load
from tests.unit.test_logs import _logging_as_it_was as logging_as_it_was  # noqa: F401 - a fixture

UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Cs"}
HOSTILE = "\x1b[2J\x07\r\n\x9b31m\u202e\u200bevil\u2028\ufeff\U000e0041"
SHOWN = "\\x1b[2J\\x07\\r\\n\\x9b31m\\u202e\\u200bevil\\u2028\\ufeff\\U000e0041"


def test_no_character_that_cannot_be_seen_is_left() -> None:
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in UNSEEN:
            assert printable(chr(code)).isascii(), hex(code)
            assert json.loads(printable_json(json.dumps(chr(code), ensure_ascii=False))) == chr(code)


def test_what_can_be_seen_stays_and_what_cannot_is_named() -> None:
    assert printable("Fühler 漢字, 21 °C 😀 \\n") == "Fühler 漢字, 21 °C 😀 \\n"
    assert printable(HOSTILE) == SHOWN
    assert printable("na\udcfcme") == "na\\xfcme"  # of a file name that is not UTF-8
    assert printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"


def test_markdown_shows_a_text_as_it_is() -> None:
    told = markdown("a | `b` [c](http://d) <img src=x> **e**\n# f")
    assert "\n" not in told
    assert told.startswith("a \\| \\`b\\` \\[c\\]\\(")
    assert "<" not in told.replace("\\<", "")


def fail() -> None:
    raise ValueError(HOSTILE)


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_log_shows_what_is_hostile_in_one_line(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    configure(load(log_format=form))
    logging.getLogger("confluent_kafka").warning("broker said %s", HOSTILE)
    log = structlog.get_logger("tasks.x")
    log.warning(HOSTILE, reason=HOSTILE, nested={"k" + HOSTILE: [HOSTILE]})
    try:
        fail()
    except ValueError:
        log.exception("unforeseen")
    told = capfd.readouterr().err
    assert [character for character in told if unicodedata.category(character) in UNSEEN - {"Cc"}] == []
    assert set(told) & {chr(code) for code in [*range(10), *range(11, 32), *range(127, 160)]} == set()
    lines = [line for line in told.splitlines() if not line.startswith(" ")]
    assert len(lines) == 3, told
    if form == "json":
        assert [json.loads(line)["event"] for line in lines][1] == HOSTILE
    else:
        assert told.count(SHOWN) >= 3
        assert "\n    " + "ValueError: \\x1b[2J" in told
