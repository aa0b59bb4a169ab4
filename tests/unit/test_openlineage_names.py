"""Names: every one of ours can be told to others, and comes back as what it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.settings import load
from lineage.errors import SettingsError
from lineage.openlineage.names import Name, Names, foreign

PLACES = {"postgres": "postgres://db:5432/lab", "mqtt": "mqtt://broker:1883", "mqtt+west": "mqtt://west:1883"}
NAMES = Names(PLACES)

OURS = {
    "postgres:sensor_readings": Name("postgres://db:5432", "lab.public.sensor_readings"),
    "mqtt:sensors/+/readings": Name("mqtt://broker:1883", "sensors/+/readings"),
    "mqtt+west:sensors/+/readings": Name("mqtt://west:1883", "sensors/+/readings"),
    "file:/data/*.csv": Name("file", "/data/*.csv"),
    "opentrons:ot2/runs": Name("headwater", "opentrons:ot2/runs"),
    "asset:lab/plate": Name("headwater", "asset:lab/plate"),
}


@pytest.mark.parametrize("uri", OURS)
def test_a_dataset_of_ours_has_the_name_of_its_store(uri: str) -> None:
    assert NAMES.of(uri) == OURS[uri]
    assert NAMES.uri(OURS[uri]) == uri


def test_the_same_database_by_its_other_scheme_is_ours() -> None:
    assert NAMES.uri(Name("postgresql://db:5432", "lab.public.plates")) == "postgres:plates"


@pytest.mark.parametrize(
    "name",
    [
        Name("postgres://db:5432", "lab.analytics.plates"),  # another schema
        Name("postgres://other:5432", "lab.public.plates"),  # another server
        Name("snowflake://org-account", "db.schema.table"),
    ],
)
def test_a_dataset_elsewhere_keeps_its_namespace(name: Name) -> None:
    assert NAMES.uri(name) == f"openlineage:{name.namespace}/{name.name}"


def test_our_own_namespace_can_be_named() -> None:
    names = Names({"headwater": "lab-7"})
    assert names.of("mqtt:a") == Name("lab-7", "mqtt:a")
    assert names.uri(Name("headwater", "mqtt:a")) == "openlineage:headwater/mqtt:a"


text = st.text(min_size=1, max_size=12)
awkward = st.text(alphabet="ab:/%.@", min_size=1, max_size=10)


@given(st.one_of(text, awkward, awkward.map(lambda host: f"s3://{host}")), st.one_of(text, awkward))
def test_no_foreign_name_is_lost(namespace: str, name: str) -> None:
    given_name = Name(namespace, name)
    assert Names().of(foreign(given_name)) == given_name


@given(st.sampled_from(sorted({*PLACES, "file", "asset", "opentrons"})), awkward)
def test_no_uri_of_ours_is_lost(store: str, rest: str) -> None:
    uri = f"{store}:{rest}"
    assert NAMES.uri(NAMES.of(uri)) == uri


def test_the_setting_is_a_place_for_each_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_OPENLINEAGE_NAMESPACES", "postgres=postgres://db:5432/lab,headwater=lab-7")
    assert load().openlineage_namespaces == {"postgres": "postgres://db:5432/lab", "headwater": "lab-7"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("oracle=oracle://db:1521", "oracle is none of"),
        ("postgres=postgres://db:5432", "must name its database"),
        ("postgres=postgres://me:secret@db:5432/lab", "without user and password"),
        ("mqtt=broker", "must be a URL with a host"),
    ],
)
def test_a_wrong_place_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, reason: str) -> None:
    monkeypatch.setenv("HEADWATER_OPENLINEAGE_NAMESPACES", value)
    with pytest.raises(SettingsError, match=reason) as refused:
        load()
    assert "secret" not in str(refused.value)
