"""Files are read as YAML 1.2, and whoever mistyped is told the line, the column and the nearest word."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from lineage.errors import ContractError
from tasks.yaml_file import read_yaml


class Thing(BaseModel, extra="forbid"):
    """Takes any value, and things within things."""

    value: Any = None
    many: tuple["Thing", ...] = ()


def whole(thing: Thing) -> Thing:
    return thing


def value_of(folder: Path, text: str) -> Any:
    path = folder / "thing.yaml"
    path.write_text(f"value: {text}\n", encoding="utf-8")
    return read_yaml(path, Thing, whole).value


def refusal(folder: Path, text: str) -> str:
    path = folder / "thing.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ContractError) as caught:
        read_yaml(path, Thing, whole)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "y", "On", "NO", "1:30", "2026-11-21"])
def test_words_are_words(tmp_path: Path, word: str) -> None:
    assert value_of(tmp_path, word) == word
    assert value_of(tmp_path, f"{{{word}: [{word}]}}") == {word: [word]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.inf", float("-inf")),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("=", "="),
        ("<<", "<<"),
        ('"on"', "on"),
        ("&a [1, 2]", [1, 2]),
    ],
)
def test_values_are_those_of_the_core_schema(tmp_path: Path, text: str, value: Any) -> None:
    read = value_of(tmp_path, text)
    assert (read, type(read)) == (value, type(value))


def test_nothing_is_merged(tmp_path: Path) -> None:
    assert value_of(tmp_path, "{<<: {a: 1}}") == {"<<": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "value: 1\nmany: []\nvalue: 2\n",
            "line 3, column 1: value comes a second time, it stands in line 1",
        ),
        ("many: [{value: 1, value: 2}]", "line 1, column 19: value comes a second time, it stands in line 1"),
        ("value: {a: {b: 1}, 'a': 2}", "line 1, column 20: a comes a second time"),
        (
            "value: 1\nvaleu: 2",
            "line 2, column 1: valeu: Extra inputs are not permitted, did you mean value?",
        ),
        (
            "many:\n  - value: 1\n  - valu: 2",
            "line 3, column 5: many.1.valu: Extra inputs are not permitted, did you mean value?",
        ),
        ("many: 7", "line 1, column 7: many: Input should be a valid tuple"),
        ("value: [1", "line 1, column 10: expected ',' or ']'"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("value: *nothing", "line 1, column 8: found undefined alias 'nothing'"),
        ("value: !python/object:os.system x", "line 1, column 8: could not determine a constructor"),
        ("value: 1\n---\nvalue: 2", "line 2, column 1: but found another document"),
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- 1", "Input should be a valid dictionary"),
    ],
)
def test_a_mistake_has_a_place(tmp_path: Path, text: str, said: str) -> None:
    assert refusal(tmp_path, text).startswith(said)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "thing.yaml"
    path.write_bytes(b"value: \xff")
    with pytest.raises(ContractError, match="can't decode byte 0xff"):
        read_yaml(path, Thing, whole)
    assert "special characters" in refusal(tmp_path, "value: \x01")
    with pytest.raises(ContractError, match="No such file"):
        read_yaml(tmp_path / "absent.yaml", Thing, whole)
