"""Log lines as JSON, by structlog."""

import logging
from collections.abc import Callable
from typing import Any

import structlog


def formatter(traced: Callable[[BaseException], str]) -> logging.Formatter:
    """An object a line: `timestamp`, `level`, `logger`, `process`, `event`, ids, `exception` where there is one.

    `traced` says what is told of it.
    """
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_ids,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.ExceptionRenderer(lambda info: traced(info[1])),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
    )


def _add_ids(_: Any, __: str, event: Any) -> Any:
    record = event["_record"]
    return {**record.ids, **event, "process": record.process}
