"""Audits' files: their head is read, their parameters have types, and nothing that writes is sent."""

from pathlib import Path

import pytest

from lineage.audit import Audit, Parameter, audits, bind, find, parse
from lineage.errors import NotFoundError, QueryError

HEAD = "// Which?\n// param key: string — which one\n// param depth: integer = 3 — how far\n"


def test_the_audits_of_the_house_are_found_by_their_files() -> None:
    assert {audit.name for audit in audits()} >= {"upstream", "downstream", "orphans"}
    assert all(audit.question.endswith("?") for audit in audits())
    with pytest.raises(NotFoundError, match="choose from blame, changed, "):
        find("sideways")


def test_a_bad_file_stops_no_other_audit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "audits").mkdir()
    (tmp_path / "audits" / "good.cypher").write_text("// Which?\nMATCH (n) RETURN n.key AS key")
    (tmp_path / "audits" / "bad.cypher").write_text("MATCH (n) SET n.x = 1")
    monkeypatch.setattr("lineage.audit.resources.files", lambda _package: tmp_path)
    assert find("good").question == "Which?"
    with pytest.raises(QueryError, match="The audit bad"):
        find("bad")
    with pytest.raises(QueryError, match="The audit bad"):
        audits()


def test_a_file_says_what_it_answers_and_takes() -> None:
    audit = parse("which", HEAD + "MATCH (n {key: $key}) RETURN n.key AS key")
    assert audit.question == "Which?"
    assert audit.parameters == (
        Parameter(name="key", type="string", meaning="which one"),
        Parameter(name="depth", type="integer", meaning="how far", default=3),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MATCH (n) RETURN n",
        "// Which?\n// param key: text — no such type\nRETURN 1",
        "// Which?\n// param key string\nRETURN 1",
        "// Which?\n// param depth: integer = far — not a number\nRETURN 1",
        "//\nRETURN 1",
        "// \n// Which?\nRETURN 1",
        "// param key: string — which one\nRETURN $key",
        "// Which?\n// Param key: string — which one\nRETURN 1",
        "// Which?\n// param key: string — one\n// param key: integer — and another\nRETURN $key",
        "// Which?\n// param known_at: integer — every statement has it already\nRETURN $known_at",
    ],
)
def test_a_wrong_head_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        parse("which", text)


@pytest.mark.parametrize(
    "query",
    [
        "CREATE (n)",
        "match (n) set n.x = 1",
        "MATCH (n)\nDETACH\nDELETE n",
        "MATCH (n) REMOVE n.x",
        "MERGE (n) RETURN n",
        "MATCH (n) FOREACH (x IN [1] | SET n.x = x)",
        "LOAD CSV FROM 'file:///x' AS row RETURN row",
        "CALL db.labels()",
        "CALL apoc.cypher.doIt('x', {})",
        "CALL `db`.labels()",
        "CALL/**/db.labels()",
        "MATCH (n) CALL { WITH n DELETE n } IN 3 TRANSACTIONS",
        "MATCH (n) WHERE n.x = '\\' // ' DELETE n",
        'MATCH (n) WHERE n.x = "//" DELETE n',
        "MATCH (n) /* // */ DELETE n",
        "MATCH (n) RETURN n; DROP INDEX x",
        "MATCH (n {x: 1}) SET n:Stray",
        "MATCH (n) WHERE n.x = 1.SET n.y = 2",
        "MATCH (n) \\u0044ELETE n",
        "MATCH (n) WHERE n.x = '\\u0027 DELETE n //'",
        "MATCH (n) WHERE n.`a` = 1 DELETE n",
        "MATCH (n) //\rSET n.x = 1\nRETURN n",
        "UNWIND [1] AS x //\u2028CREATE (n)\nRETURN x",
        "UNWIND [1] AS x //\x85CREATE (n)\nRETURN x",
        "MATCH (n) RETURN n.\ufeffset",
        "SHOW TRANSACTIONS",
        "SHOW TRANSACTIONS YIELD transactionId AS id TERMINATE TRANSACTIONS id YIELD message RETURN message",
        "terminate transactions 'neo4j-transaction-1'",
        "/* so */ TERMINATE TRANSACTION 'x'",
        "EXPLAIN MATCH (n) RETURN n",
        "PROFILE MATCH (n) RETURN n",
        "CYPHER runtime=slotted MATCH (n) RETURN n",
        "RETURN 1 AS a UNION SHOW TRANSACTIONS",
        "RETURN 1; RETURN 2",
        "MATCH (n) CALL (n) { DELETE n } IN 3 CONCURRENT TRANSACTIONS",
        "MATCH (n) WHERE EXISTS { CALL db.labels() } RETURN n",
        "MATCH (n) CALL (n) { CALL dbms.killTransaction('x') YIELD message RETURN message } RETURN n",
        "WITH 1 AS x CALL { LOAD CSV FROM 'http://127.0.0.1/' AS row RETURN row } RETURN row",
        "",
        "KILL 1",
    ],
)
def test_what_could_write_is_refused(query: str) -> None:
    with pytest.raises(QueryError, match=r"The audit .* was not run: .* it may only read"):
        parse("which", "// Which?\n" + query)


@pytest.mark.parametrize(
    "query",
    [
        "MATCH (n {offset: 1}) WHERE n.delete = 'CREATE (n)' RETURN n.create AS key",
        "MATCH (n:Create)-[:MERGE]->() RETURN n.key // DELETE",
        "MATCH (n) /* SET */ RETURN n.`DROP` AS dropped",
        "MATCH (n) CALL { WITH n MATCH (n)-->(m) RETURN count(m) AS c } RETURN c",
        "MATCH (n) CALL (n) { MATCH (n)-->(m) RETURN count(m) AS c } RETURN c",
        "MATCH (n) WHERE n.offset = $set RETURN n.created_at AS created_at",
        "// Which?\r\nmatch (n)\r\nRETURN n.key AS key",
        "RETURN 'a;b' AS text UNION ALL UNWIND ['SHOW'] AS text RETURN text;",
        "OPTIONAL MATCH (n) WITH n /* ; */ CALL { MATCH (m) RETURN count(m) AS c } RETURN c",
        "CALL { MATCH (n) RETURN n.key AS key UNION MATCH (n) RETURN n.dataset AS key } RETURN key",
    ],
)
def test_words_that_are_no_clauses_pass(query: str) -> None:
    assert parse("which", "// Which?\n" + query).query.endswith(query)


AUDIT = Audit(
    name="which",
    question="Which?",
    parameters=(
        Parameter(name="key", type="string", meaning="which one"),
        Parameter(name="depth", type="integer", meaning="how far", default=3),
        Parameter(name="share", type="float", meaning="how much", default=0.5),
        Parameter(name="all", type="boolean", meaning="all of them", default=False),
    ),
    query="RETURN 1",
)


def test_values_take_the_type_of_their_parameter() -> None:
    assert bind(AUDIT, {"key": "a"}) == {"key": "a", "depth": 3, "share": 0.5, "all": False}
    given = {"key": "1", "depth": "7", "share": "0.25", "all": "true"}
    assert bind(AUDIT, given) == {"key": "1", "depth": 7, "share": 0.25, "all": True}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "needs key: which one"),
        ({"key": "a", "kez": "b"}, "no parameter 'kez': it takes key, depth, share, all"),
        ({"key": 1}, "key must be a value of type string"),
        ({"key": "a", "depth": "far"}, "depth must be a value of type integer, not 'far'"),
        ({"key": "a", "depth": 1.5}, "depth must be a value of type integer"),
        ({"key": "a", "depth": True}, "depth must be a value of type integer"),
        ({"key": "a", "all": "perhaps"}, "all must be a value of type boolean"),
    ],
)
def test_a_wrong_value_is_told(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(QueryError, match=sentence):
        bind(AUDIT, given)
