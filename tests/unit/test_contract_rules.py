"""What a contract cannot say is refused when it is read: with the file, the place and what to do."""

import json
import re
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from lineage.errors import ContractError
from tasks.contract import Contract, Missing
from tasks.table_definition import ColumnDefinition, TableDefinition, read_table

HEAD = """name: power
key: [meter, at]
time: at
columns:
  meter: {type: text}
  at: {type: timestamp}
"""
OURS = (
    *("processed_at", "batch", "raw_batch", "sequence", "part", "input_hash", "observed_at"),
    *("replaced_by", "act", "tableoid", "xmin", "xmax", "cmin", "cmax", "ctid"),
)
MONEY = "type: decimal, precision: 4, scale: 2"
TABLES = (
    *("ledger", "raw_batches", "rejected", "devices", "quarantine", "recalls", "drops", "batch_number"),
    *("power_history", "power_quarantine", "power_20261121", "pg_power", "p" * 50),
)


def refusal(folder: Path, text: str) -> str:
    path = folder / "power.yaml"
    path.write_text(text)
    with pytest.raises(ContractError) as caught:
        read_table(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("name", OURS)
def test_a_column_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    said = refusal(tmp_path, f"{HEAD}  {name}: {{type: float}}\n")
    assert said.startswith(f"line 7, column {len(name) + 5}: {name} is a column ")
    assert said.endswith(f"give yours another name, and say `from: {name}` where it is read")


@pytest.mark.parametrize("name", OURS)
def test_a_value_of_that_name_is_read_into_a_column_of_another(tmp_path: Path, name: str) -> None:
    path = tmp_path / "power.yaml"
    path.write_text(f"{HEAD}  of_theirs: {{type: float, from: {name}}}\n")
    assert read_table(path).column("of_theirs").source_path == (name,)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    said = refusal(tmp_path, HEAD.replace("name: power", f"name: {name}"))
    assert said.startswith("line 1, column 7: ")


@pytest.mark.parametrize("name", ["power_hist", "history", "powers_2026", "p" * 49, "order", "user", "pgx"])
def test_a_table_may_have_any_other_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "power.yaml"
    path.write_text(HEAD.replace("name: power", f"name: {name}"))
    assert read_table(path).table == name


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("type: text, minimum: 1", "`minimum` is a rule of float, integer and decimal, and this is text"),
        (
            "type: timestamp, maximum: 1",
            "`maximum` is a rule of float, integer and decimal, and this is timestamp",
        ),
        (
            "type: boolean, minimum: 0",
            "`minimum` is a rule of float, integer and decimal, and this is boolean",
        ),
        ("type: float, min_length: 1", "`min_length` is a rule of text, and this is float"),
        ("type: json, max_length: 1", "`max_length` is a rule of text, and this is json"),
        ("type: float, minimum: 2, maximum: 1", "`minimum` 2 is above `maximum` 1"),
        ("type: text, min_length: 2, max_length: 1", "`min_length` 2 is above `max_length` 1"),
        ("type: float, minimum: .nan", "`minimum` must be a finite number"),
        ("type: float, maximum: .inf", "`maximum` must be a finite number"),
        ("type: float, minimum: true", "minimum: Input should be a valid number"),
        ('type: float, minimum: "1"', "minimum: Input should be a valid number"),
        ("type: text, min_length: -1", "`min_length` is a number of characters, so 0 or more"),
        ("type: float, required: true, default: 1", "it is required, so its default does nothing"),
        ("type: float, required: maybe", "required: Input should be a valid boolean"),
        ("type: float, default: no", "the default 'no' is not a number"),
        ("type: float, default: true", "the default True is not a number"),
        ("type: float, default: .nan", "the default nan is not a number"),
        ("type: integer, default: 1.5", "the default 1.5 is not a whole number"),
        ("type: integer, default: 9223372036854775808", "is not a whole number of 64 bits"),
        ("type: boolean, default: yes", "the default 'yes' is not true or false"),
        ("type: text, default: 1", "the default 1 is not text"),
        ('type: text, default: "a\\0"', "is not text without NUL"),
        ("type: json, default: '{'", "the default '{' is not a text that is JSON"),
        ("type: timestamp, default: x", "a timestamp has no default"),
        ("type: float, minimum: 1, default: 0", "outside its own minimum and maximum"),
        ("type: text, max_length: 1, default: ab", "shorter or longer than its own rules"),
        ("type: text, from: []", "`from` is empty"),
        ("type: float, one_of: [1, 2]", "`one_of` is a rule of text, integer and decimal, and this is float"),
        ("type: text, one_of: []", "`one_of` names no value"),
        ("type: text, one_of: [1]", "1 in `one_of` is not text without NUL"),
        ("type: integer, one_of: [1, two]", "'two' in `one_of` is not a whole number of 64 bits"),
        ("type: integer, one_of: [true]", "one_of.0"),
        ("type: text, one_of: [a, b], default: c", "the default 'c' is none of its own `one_of`"),
        ("type: integer, regex: '1'", "`regex` is a rule of text, and this is integer"),
        ("type: text, regex: '(a'", "`regex` is none: "),
        ("type: text, regex: 'a|b', default: ab", "the default 'ab' does not match its own `regex`"),
        ("type: text, derived: true, regex: a", "x is derived, so `regex` does nothing"),
        ("type: text, derived: true, from: y", "x is derived, so `from` does nothing"),
        ("type: float, derived: true, minimum: 1", "x is derived, so `minimum` does nothing"),
        ("type: decimal", "say how many digits a decimal has after the point, as `scale: 2`"),
        ("type: decimal, scale: 2, precision: 39", "`precision` is a number of digits, from 1 to 38"),
        ("type: decimal, scale: 0, precision: 0", "`precision` is a number of digits, from 1 to 38"),
        ("type: decimal, scale: 3, precision: 2", "`scale` is how many of its 2 digits are after the point"),
        ("type: decimal, scale: -1", "`scale` is how many of its 38 digits are after the point"),
        ("type: decimal, scale: 2.5", "scale: Input should be a valid integer"),
        ("type: float, scale: 2", "`scale` is of decimals, and this is float"),
        ("type: integer, precision: 2", "`precision` is of decimals, and this is integer"),
        (f"{MONEY}, minimum: 0.005", "`minimum` 0.005 is not a number of at most 2 digits before the point"),
        (f"{MONEY}, maximum: 100", "`maximum` 100.00 is not a number of at most 2 digits before the point"),
        (f"{MONEY}, maximum: .inf", "`maximum` must be a finite number"),
        (f"{MONEY}, minimum: 0.3, maximum: 0.1", "`minimum` 0.30 is above `maximum` 0.10"),
        (f"{MONEY}, default: 1.005", "the default 1.005 is not a number of at most 2 digits before the"),
        (f"{MONEY}, default: free", "the default 'free' is not a number of at most 2 digits"),
        (f"{MONEY}, default: true", "the default True is not a number of at most 2 digits"),
        (f"{MONEY}, maximum: 5, default: 7", "the default 7.00 is outside its own minimum and maximum"),
        (f"{MONEY}, one_of: [0.07, 0.195]", "0.195 in `one_of` is not a number of at most 2 digits"),
        (f"{MONEY}, one_of: [0.07], default: 0.19", "the default 0.19 is none of its own `one_of`"),
        (f"{MONEY}, null_values: [-999]", "-999.00 is not a number of at most 2 digits before the point"),
        (f"{MONEY}, map: {{low: 0.001}}", "`map` makes 0.001 of 'low', which is not a number of at most"),
        (f"{MONEY}, regex: a", "`regex` is a rule of text, and this is decimal"),
        ("type: text, from: meter", "meter and x are both read from meter"),
        ("type: text, form: meter", "did you mean from?"),
        ("type: text, path: [y]", "columns.x.path: Extra inputs are not permitted"),
        ("type: number", "did you mean"),
        ("typ: float", "did you mean type?"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(tmp_path: Path, column: str, said: str) -> None:
    if said == "did you mean":
        said = "Input should be 'text', 'float'"
    sentence = refusal(tmp_path, f"{HEAD}  x: {{{column}}}\n")
    assert sentence.startswith("line 7, column ")
    assert said in sentence


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("key: [meter, at]", "key: []", "line 2, column 6: key: Tuple should have at least 1 item"),
        ("key: [meter, at]", "key: [meter]", "line 2, column 6: power: the key must hold the time column at"),
        ("key: [meter, at]", "key: [at, at]", "line 2, column 6: power: the key names a column twice"),
        ("key: [meter, at]", "key: [at, place]", "power: place is not one of its columns"),
        ("time: at\n", "", "and append needs one: name its `time`, or say `on_return: revise`"),
        (
            "time: at",
            "on_return: append",
            "line 3, column 12: power: it has no `time`, and append needs one",
        ),
        ("time: at", "on_return: recompute", "it has no `time`, and recompute needs one: name its `time`"),
        (
            "time: at",
            "on_return: revise\noldest: P1D",
            "a table without `time` has no `oldest`: leave it out, or name its time",
        ),
        ("time: at", "time: meter", "line 3, column 7: power: the time column meter is text"),
        ("meter: {type: text", "meter: {type: json", "JSON has no order, so meter cannot be in the key"),
        (
            "meter: {type: text",
            "meter: {type: text, default: m",
            "line 5, column 32: power: meter is in the key, so it is required: leave its default out",
        ),
        ("  at: ", "  meter: ", "line 6, column 3: meter comes a second time, it stands in line 5"),
        (
            "meter: {type: text}",
            "Meter: {type: text}",
            "line 5, column 3: columns.Meter",
        ),
        ("meter: {type: text}", "meter: text", "line 5, column 10: columns.meter: Input should be"),
        (
            "  meter: {type: text}\n  at: {type: timestamp}",
            "  - {name: meter, type: text}",
            "line 5, column 3: `columns` gives each name what the column is, without a dash",
        ),
        (
            "time: at",
            "time: at\nversion: 0",
            "line 4, column 10: power: `version` must be from 1 to 2,147,483,647",
        ),
        (
            "time: at",
            "time: at\nmax_bytes: 0",
            "line 4, column 12: power: `max_bytes` must be from 1 to 2,147,483,647",
        ),
        ("time: at", "time: at\nversion: 2147483648", "power: `version` must be from 1 to"),
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
    path.write_text(HEAD + "  watts: {type: float}\n")
    missing = {column.name: column.missing for column in read_table(path).columns}
    assert missing == {"meter": Missing.REJECT, "at": Missing.REJECT, "watts": Missing.NULL}


def test_a_table_without_time_revises_and_has_no_limits_of_age(tmp_path: Path) -> None:
    path = tmp_path / "power.yaml"
    path.write_text(HEAD.replace("time: at", "on_return: revise"))
    contract = read_table(path)
    assert (contract.is_reference, contract.time, contract.key) == (True, None, ("meter", "at"))
    assert Contract.stored(json.dumps(contract.model_dump(mode="json"))) == contract
    assert contract.with_set([]) == contract


def test_what_is_stored_of_a_contract_says_nothing_of_rules_that_it_does_not_use(tmp_path: Path) -> None:
    path = tmp_path / "power.yaml"
    path.write_text(HEAD + "  unit: {type: text, one_of: [W, kW]}\n")
    columns = read_table(path).model_dump(mode="json")["columns"]
    assert [sorted(column.keys() & {"one_of", "regex"}) for column in columns] == [[], [], ["one_of"]]
    again = Contract.stored(json.dumps(read_table(path).model_dump(mode="json")))
    assert again.column("unit").one_of == ("W", "kW")


def test_the_numbers_of_a_decimal_are_those_that_are_written(tmp_path: Path) -> None:
    """Also where no double is that number; and a contract is the same however its zeros are written."""
    path, written = tmp_path / "power.yaml", []
    for limits in (
        "minimum: 0.1, maximum: 12345678901234567890.123456789, default: 0.10",
        'minimum: 0.100, maximum: 12345678901234567890.1234567890, default: "0.1"',
    ):
        path.write_text(f"{HEAD}  price: {{type: decimal, scale: 10, {limits}, one_of: [0.1, 3, -0.0]}}\n")
        written.append(read_table(path))
    first, second = written
    assert first == second
    price = first.column("price")
    assert str(price.maximum) == "12345678901234567890.1234567890"
    assert (price.minimum, price.default) == (Decimal("0.1"), Decimal("0.1"))
    assert list(map(str, price.one_of or ())) == ["0.1000000000", "3.0000000000", "0E-10"]
    assert (price.postgres_type, price.polars_type) == ("numeric(38,10)", pl.Decimal(38, 10))
    kept = json.dumps(first.model_dump(mode="json"))
    assert Contract.stored(kept) == first
    assert Contract.stored(kept).model_dump(mode="json") == first.model_dump(mode="json")
    assert first.with_set([]) == first


def test_a_number_of_too_many_digits_is_to_a_float_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "power.yaml"
    path.write_text(HEAD + "  x: {type: float, minimum: 0, maximum: 0.1234567890123456789, default: 0.1}\n")
    column = read_table(path).column("x")
    assert [type(each) for each in (column.minimum, column.maximum, column.default)] == [float] * 3
    assert column.maximum == 0.1234567890123456789
    assert json.dumps(column.model_dump(mode="json")["minimum"]) == "0.0"


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
    assert read_table(path).names
    named = set(re.findall(r"`([a-z_]+)`", text))
    fields = {**TableDefinition.model_fields, **ColumnDefinition.model_fields}
    assert {field.alias or name for name, field in fields.items()} - named == set()
    assert set(OURS[:9]) <= named
