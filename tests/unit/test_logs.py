"""One line per event, at the levels asked for, without secrets whichever way they come."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from infra.logs import QUIET, REPLACED, configure
from infra.settings import load
from lineage.errors import NotFoundError

SECRET = "s3cr3t-hunter2"
DSN = f"postgresql://ann:{SECRET}@db.example/lab"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    names = {"", *logging.root.manager.loggerDict, "infra", "tasks", "tasks.load", REPLACED, *QUIET}
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)
    for logger, handlers, level, propagate in before:
        for handler in logger.handlers:
            if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
                handler.close()
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == "", "results go to stdout, logs do not"
    return [json.loads(line) for line in captured.err.splitlines()]


def fail() -> None:
    password = SECRET  # noqa: F841 - a local variable, which a traceback must not show
    raise ConnectionError(f"cannot connect to {DSN}")


def test_ours_and_theirs_take_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    configure(load(log_format="json"))
    structlog.get_logger("tasks.load.postgres").info("committed", batch=7, rows=10)
    logging.getLogger("neo4j.io").warning("retrying %s in %d s", "bolt", 3)
    ours, theirs = lines(capsys)
    assert ours.pop("timestamp").endswith("Z")
    assert ours == {
        "event": "committed",
        "batch": 7,
        "rows": 10,
        "logger": "tasks.load.postgres",
        "level": "info",
    }
    assert (theirs["event"], theirs["logger"], theirs["level"]) == (
        "retrying bolt in 3 s",
        "neo4j.io",
        "warning",
    )


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_dsn_is_masked_in_events_and_exceptions(
    form: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "headwater.log"
    configure(load(log_format=form, log_file=file))
    ours, theirs = structlog.get_logger("infra.postgres"), logging.getLogger("asyncpg")
    ours.warning("connecting", dsn=DSN, also={"list": [DSN]}, password=SECRET)
    ours.warning("connecting to %s", DSN)
    theirs.warning("connecting to %s", DSN)
    try:
        fail()
    except ConnectionError as error:
        ours.exception("failed", error=error)
        theirs.exception("failed")
    written = capsys.readouterr().err
    for text in (written, file.read_text()):
        assert SECRET not in text
        assert text.count("postgresql://ann:***@db.example/lab") >= 7
        assert text.count("ConnectionError") >= 2, "the traceback itself is there"


def test_a_known_secret_is_masked_without_any_shape(capsys: pytest.CaptureFixture[str]) -> None:
    configure(load(log_format="json", mqtt_url=f"mqtt://a:{SECRET}@h"), known=["local-password"])
    structlog.get_logger("infra").info(f"the broker said {SECRET}", reason=["local-password"])
    logging.getLogger("paho").warning("it said %s", SECRET)
    ours, theirs = lines(capsys)
    assert (ours["event"], ours["reason"], theirs["event"]) == ("the broker said ***", ["***"], "it said ***")


def test_a_handler_attached_later_sees_no_secret() -> None:
    configure(load())
    seen: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(self.format(record))

    logger = logging.getLogger("prefect.flow_runs")
    handler = Collect()
    logger.addHandler(handler)
    try:
        logger.warning("using %s", DSN)
        try:
            fail()
        except ConnectionError:
            logger.exception("flow failed")
    finally:
        logger.removeHandler(handler)
    assert len(seen) == 2
    assert "ConnectionError" in seen[1]
    assert SECRET not in "".join(seen)


def test_an_error_of_ours_has_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure(load(log_format="json"))
    for error in (NotFoundError("no such robot: add it"), ValueError("a bug")):
        logging.getLogger("prefect.flow_runs").error("failed: %s", error, exc_info=error)
    ours, bug = lines(capsys)
    assert ours["event"] == "failed: no such robot: add it"
    assert "exception" not in ours
    assert bug["exception"] == "ValueError: a bug"


def test_levels_per_room(capsys: pytest.CaptureFixture[str]) -> None:
    configure(
        load(log_format="json", log_level="WARNING", log_levels={"tasks": "ERROR", "tasks.load": "DEBUG"})
    )
    structlog.get_logger("infra.mqtt").info("no")
    structlog.get_logger("infra.mqtt").warning("yes 1")
    structlog.get_logger("tasks.transform").warning("no")
    structlog.get_logger("tasks.load.postgres").debug("yes 2")
    assert [line["event"] for line in lines(capsys)] == ["yes 1", "yes 2"]


def test_libraries_that_write_per_request_are_quiet_unless_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(load(log_format="json"))
    logging.getLogger("httpx").info("GET")
    configure(load(log_format="json", log_levels={"httpx": "INFO"}))
    logging.getLogger("httpx").info("GET again")
    assert [line["event"] for line in lines(capsys)] == ["GET again"], "and configuring twice writes once"


def test_prefect_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    from prefect.logging.configuration import setup_logging

    setup_logging()
    configure(load(log_format="json"))
    setup_logging()  # Prefect does it again when a flow starts
    logging.getLogger("prefect.server").warning("hello from %s", DSN)
    logging.getLogger("uvicorn.error").warning("hello")
    assert [line["event"] for line in lines(capsys)] == [
        "hello from postgresql://ann:***@db.example/lab",
        "hello",
    ]
