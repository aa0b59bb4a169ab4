"""What a contract cannot say is refused when it is read: with the file, the place and what to do."""

import json
import re
from pathlib import Path

import pytest

from lineage.errors import ContractError
from tasks.contract import Column, Contract, Missing, load_contract

HEAD = """table: power
key: [meter, at]
time: at
columns:
  - {name: meter, type: text}
  - {name: at, type: timestamp}
"""
OURS = (
    *("processed_at", "batch", "raw_batch", "sequence", "part", "input_hash", "observed_at"),
    *("replaced_by", "act", "tableoid", "xmin", "xmax", "cmin", "cmax", "ctid"),
)
TABLES = (
    *("ledger", "raw_batches", "rejected", "devices", "quarantine", "recalls", "drops", "batch_number"),
    *("power_history", "power_quarantine", "power_20261121", "pg_power", "p" * 50),
)


def refusal(folder: Path, text: str) -> str:
    path = folder / "power.yaml"
    path.write_text(text)
    with pytest.raises(ContractError) as caught:
        load_contract(path)
    sentence = str(caught.value)
    assert sentence.startswith("power.yaml is not a contract: ")
    assert "\n" not in sentence
    return sentence.removeprefix("power.yaml is not a contract: ")


@pytest.mark.parametrize("name", OURS)
def test_a_column_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    said = refusal(tmp_path, f"{HEAD}  - {{name: {name}, type: float}}\n")
    assert said.startswith(f"line 7, column 12: {name} is a column ")
    assert said.endswith(f"give yours another name, and say `path: [{name}]` where it is read")


@pytest.mark.parametrize("name", OURS)
def test_a_value_of_that_name_is_read_into_a_column_of_another(tmp_path: Path, name: str) -> None:
    path = tmp_path / "power.yaml"
    path.write_text(f"{HEAD}  - {{name: of_theirs, type: float, path: [{name}]}}\n")
    assert load_contract(path).column("of_theirs").source_path == (name,)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    said = refusal(tmp_path, HEAD.replace("table: power", f"table: {name}"))
    assert said.startswith("line 1, column 8: ")


@pytest.mark.parametrize("name", ["power_hist", "history", "powers_2026", "p" * 49, "order", "user", "pgx"])
def test_a_table_may_have_any_other_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "power.yaml"
    path.write_text(HEAD.replace("table: power", f"table: {name}"))
    assert load_contract(path).table == name


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("type: text, minimum: 1", "`minimum` is a rule of float and integer, and this is text"),
        ("type: timestamp, maximum: 1", "`maximum` is a rule of float and integer, and this is timestamp"),
        ("type: boolean, minimum: 0", "`minimum` is a rule of float and integer, and this is boolean"),
        ("type: float, min_length: 1", "`min_length` is a rule of text, and this is float"),
        ("type: json, max_length: 1", "`max_length` is a rule of text, and this is json"),
        ("type: float, minimum: 2, maximum: 1", "`minimum` 2 is above `maximum` 1"),
        ("type: text, min_length: 2, max_length: 1", "`min_length` 2 is above `max_length` 1"),
        ("type: float, minimum: .nan", "`minimum` must be a finite number"),
        ("type: float, maximum: .inf", "`maximum` must be a finite number"),
        ("type: float, minimum: true", "minimum: Input should be a valid number"),
        ('type: float, minimum: "1"', "minimum: Input should be a valid number"),
        ("type: text, min_length: -1", "`min_length` is a number of characters, so 0 or more"),
        ("type: float, default: 1", "`missing: default` and a `default` go together"),
        ("type: float, missing: default", "`missing: default` and a `default` go together"),
        ("type: float, missing: default, default: no", "the default 'no' is not a number"),
        ("type: float, missing: default, default: true", "the default True is not a number"),
        ("type: float, missing: default, default: .nan", "the default nan is not a number"),
        ("type: integer, missing: default, default: 1.5", "the default 1.5 is not a whole number"),
        ("type: integer, missing: default, default: 9223372036854775808", "is not a whole number of 64 bits"),
        ("type: boolean, missing: default, default: yes", "the default 'yes' is not true or false"),
        ("type: text, missing: default, default: 1", "the default 1 is not text"),
        ('type: text, missing: default, default: "a\\0"', "is not text without NUL"),
        ("type: json, missing: default, default: '{'", "the default '{' is not a text that is JSON"),
        ("type: timestamp, missing: default, default: x", "a timestamp has no default"),
        ("type: float, minimum: 1, missing: default, default: 0", "outside its own minimum and maximum"),
        ("type: text, max_length: 1, missing: default, default: ab", "shorter or longer than its own rules"),
        ("type: text, path: []", "`path` is empty"),
        ("type: text, derived: true, path: [y]", "x is derived, so `path` does nothing"),
        ("type: float, derived: true, minimum: 1", "x is derived, so `minimum` does nothing"),
        ("type: text, path: [meter]", "meter and x are both read from meter"),
        ("type: number", "did you mean"),
        ("typ: float", "did you mean type?"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(tmp_path: Path, column: str, said: str) -> None:
    if said == "did you mean":
        said = "Input should be 'text', 'float'"
    sentence = refusal(tmp_path, f"{HEAD}  - {{name: x, {column}}}\n")
    assert sentence.startswith("line 7, column ")
    assert said in sentence


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("key: [meter, at]", "key: []", "line 2, column 6: key: Tuple should have at least 1 item"),
        ("key: [meter, at]", "key: [meter]", "line 2, column 6: power: the key must hold the time column at"),
        ("key: [meter, at]", "key: [at, at]", "line 2, column 6: power: the key names a column twice"),
        ("key: [meter, at]", "key: [at, place]", "power: place is not one of its columns"),
        ("time: at", "time: meter", "line 3, column 7: power: the time column meter is text"),
        ("meter, type: text", "meter, type: json", "JSON has no order, so meter cannot be in the key"),
        (
            "meter, type: text",
            "meter, type: text, missing: null",
            "line 5, column 40: power: meter is in the key, so it is required: leave `missing` out",
        ),
        (
            "meter, type: text",
            "meter, type: text, missing: 'null'",
            "line 5, column 40: power: meter is in the key, so it is required: leave `missing` out",
        ),
        (
            "meter, type: text",
            "meter, type: text, missing: default, default: m",
            "power: meter is in the key, so it is required: leave `missing` out",
        ),
        ("name: at, ", "name: meter, ", "power: a column is named twice: meter"),
        ("time: at", "time: at\nversion: 0", "line 4, column 10: power: `version` must be 1 or more"),
        ("time: at", "time: at\nmax_bytes: 0", "line 4, column 12: power: `max_bytes` must be 1 or more"),
        ("time: at", "time: at\noldest: -P1D", "line 4, column 9: power: `oldest` is a time span"),
        ("time: at", "time: at\noldest: P900000D", "line 4, column 9: power: `oldest` is a time span"),
        ("time: at", "time: at\nfurthest: -PT1S", "line 4, column 11: power: `furthest` is a time span"),
        (
            "time: at",
            "time: at\ntogether: [{name: both, columns: [meter]}]",
            "line 4, column 34: power: both needs two columns or more",
        ),
    ],
)
def test_a_contract_that_cannot_work_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in HEAD
    assert said in refusal(tmp_path, HEAD.replace(old, new))


def test_a_column_of_the_key_is_required_by_being_there(tmp_path: Path) -> None:
    path = tmp_path / "power.yaml"
    path.write_text(HEAD + "  - {name: watts, type: float}\n")
    missing = {column.name: column.missing for column in load_contract(path).columns}
    assert missing == {"meter": Missing.REJECT, "at": Missing.REJECT, "watts": Missing.NULL}


def test_what_postgres_keeps_is_read_by_whatever_rules_it_was_made() -> None:
    column = {"type": "float", "minimum": 5, "maximum": 1, "missing": "null"}
    columns = [{"name": "at", "type": "timestamp", "missing": "null"}, {"name": "batch", **column}]
    kept = {"table": "ledger", "key": ["at"], "time": "at", "columns": columns}
    with pytest.raises(ValueError, match="batch is a column of ours"):
        Contract.model_validate(kept)
    assert Contract.stored(json.dumps(kept)).column("at").missing is Missing.NULL


def test_the_documented_contract_is_one_and_its_names_are_the_models(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert example
    path = tmp_path / "power_readings.yaml"
    path.write_text(example[1], encoding="utf-8")
    assert load_contract(path).derived == ("source_name",)
    named = set(re.findall(r"`([a-z_]+)`", text))
    assert (Contract.model_fields.keys() | Column.model_fields.keys()) - named == set()
    assert set(OURS[:9]) <= named
