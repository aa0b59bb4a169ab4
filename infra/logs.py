"""Structured logs: configured once by an entry point, one line per event, no secrets.

    structlog.get_logger(__name__) ─┐
                                    ├─▶ level per room ─▶ mask ─▶ console or JSON ─▶ stderr, log file
    logging (prefect, neo4j, …)    ─┘

Loggers are named after their module, so that the first part is the room. Results go to stdout and logs to
stderr, so that a command's output can be piped. Tracebacks show no local variables: these hold passwords.
"""

import logging
import sys
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, Final, Literal

import structlog
from structlog.typing import EventDict, Processor

from infra.masking import mask, mask_value
from infra.printable import printable, printable_json, printable_value
from infra.settings import Settings
from lineage.errors import HeadwaterError

QUIET: Final[Mapping[str, str]] = {
    "httpx": "WARNING",  # a line per request
    "httpcore": "WARNING",
    "uvicorn.access": "WARNING",
    "asyncio": "WARNING",
    "urllib3": "ERROR",  # a line per try; who asked tells when all have failed
    "APILogWorker": "ERROR",  # "still processing items" at the end of a command that waits for Prefect
    "EventsWorker": "ERROR",
}
"""Libraries that write lines nobody needs; `HEADWATER_LOG_LEVELS` goes before this."""

LOUD: Final = ("prefect", "uvicorn", "fastapi")
"""Libraries that bring handlers of their own, which would write every line a second time, unmasked."""

TRACEBACKS: Final = frozenset({"exception", "stack"})
"""What of an event has lines."""

REPLACED: Final = "replaced_handlers"


class Mask:
    """A processor that takes secrets out of every value of an event, tracebacks included."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = tuple(known)

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        return {name: mask_value(name, value, self._known) for name, value in event.items()}


def configure(settings: Settings, *, known: Iterable[str] = ()) -> None:
    """Send structlog and logging through one chain; call it again to change it.

    `known` are secrets to hide besides the settings' own, e.g. the passwords of local services.
    """
    secrets = frozenset(known) | settings.secrets()
    logging.setLogRecordFactory(_masked_records(secrets))
    shared = _shared()
    _to_one_place(_handlers(settings, shared, secrets))
    _set_levels(settings.log_level, settings.log_levels)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a cached one would not notice a second call
    )


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _handlers(
    settings: Settings, shared: Sequence[Processor], secrets: Iterable[str]
) -> list[logging.Handler]:
    def dressed(handler: logging.Handler, colors: bool) -> logging.Handler:
        handler.addFilter(_is_news)
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=shared,
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    _without_traceback_of_ours,
                    structlog.processors.format_exc_info,  # text, so that it can be masked
                    Mask(secrets),
                    *_renderers(settings.log_format, colors),
                ],
            )
        )
        return handler

    handlers = [dressed(logging.StreamHandler(sys.stderr), sys.stderr.isatty())]
    if settings.log_file is not None:
        handlers.append(dressed(_file(settings.log_file), False))
    return handlers


def _is_news(record: logging.LogRecord) -> bool:
    """Not where to look at a flow run, which `prefect.flow_runs` says too.

    A level would not do: Prefect resets those of its own loggers when a flow starts.
    """
    return record.name != "prefect.engine" or record.levelno > logging.INFO


def _without_traceback_of_ours(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """An error of ours is one sentence that says what to do; where it was raised does not help."""
    info = event.get("exc_info")
    if isinstance(info, tuple) and isinstance(info[1], HeadwaterError):
        del event["exc_info"]
    return event


def _file(path: Path) -> logging.Handler:
    """Appends, and notices when logrotate has moved the file; several processes may share it."""
    return WatchedFileHandler(path, encoding="utf-8")


def _renderers(form: Literal["console", "json"], colors: bool) -> Sequence[Processor]:
    """What is outside's own in an event can neither end a line nor do anything to a terminal."""
    if form == "json":
        return [structlog.processors.JSONRenderer(ensure_ascii=False), _printable_json]
    console = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )
    return [_printable, console]


def _printable(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """A traceback keeps its lines, set in so that none of them looks like an event."""
    return {
        printable(name): _set_in(str(value)) if name in TRACEBACKS else printable_value(value)
        for name, value in event.items()
    }


def _set_in(traceback: str) -> str:
    return "\n".join(f"    {printable(line)}" for line in traceback.splitlines())


def _printable_json(_logger: Any, _method: str, line: Any) -> str:
    return printable_json(str(line))


def _to_one_place(handlers: Sequence[logging.Handler]) -> None:
    root = logging.getLogger()
    _replace_streams(root, handlers)
    for name, logger in list(root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in LOUD:
            # Those that do not propagate stay so: Prefect would stop them again, and they would be lost.
            _replace_streams(logger, () if logger.propagate else handlers)


def _replace_streams(logger: logging.Logger, handlers: Sequence[logging.Handler]) -> None:
    """Put our handlers in the place of those that write; Prefect's that send to its server stay."""
    streams = [handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]
    for handler in streams:
        logger.removeHandler(handler)
        _put_away(handler)
    if streams or logger is logging.getLogger():
        for ours in handlers:
            logger.addHandler(ours)


def _put_away(handler: logging.Handler) -> None:
    """Close a handler of ours; keep another's alive on a logger that nobody uses.

    Prefect sets its logging up again when a flow starts, and makes every handler anew if one is gone.
    """
    if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
        handler.close()
    else:
        logging.getLogger(REPLACED).addHandler(handler)


def _set_levels(level: str, levels: Mapping[str, str]) -> None:
    logging.getLogger().setLevel(level)
    for name, own in {**QUIET, **levels}.items():
        logging.getLogger(name).setLevel(own)


def _masked_records(secrets: Iterable[str]) -> "type[logging.LogRecord]":
    """A log record masked as it is made.

    Prefect sends its records to its server by handlers that it may attach later, and any library may do
    the same: whatever handler comes, it only ever sees this.
    """
    known = tuple(secrets)

    class MaskedRecord(logging.LogRecord):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if not isinstance(self.msg, MutableMapping):  # ours are masked where they are rendered
                self.msg, self.args = printable(mask(self.getMessage(), known), lines=True), ()
            if self.exc_info and self.exc_info[0]:
                # A formatter takes this text instead of making its own.
                told = logging.Formatter().formatException(self.exc_info)
                self.exc_text = printable(mask(told, known), lines=True)

    return MaskedRecord
