"""The log of a service: on standard error, as lines for people or as JSON for machines. No line has a row's values.

So what an error says is left out, whoever raised it, but where it is one of Scoreline's or the system's: it may quote
what was sent.
"""

import logging
import sys
from traceback import format_tb
from typing import Any, Final

from scoreline.core.about import ids
from scoreline.core.errors import ScorelineError
from scoreline.core.names import load

TEXT: Final = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s%(about)s"


def set_up_logging(form: str = "text", level: str = "INFO") -> None:
    """Lines with time, level, process, logger, and the ids of what they are about; `form`: text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_name)
    handler.setFormatter(_Text(TEXT) if form == "text" else load("scoreline.cli.jsonlines:formatter")(traced))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in ("uvicorn", "alembic", "opentelemetry"):
        logging.getLogger(name).setLevel(logging.WARNING)


def traced(error: BaseException | None) -> str:
    """Where an error was raised and what it is, after the errors that led to it."""
    if error is None:
        return ""
    within = [traced(one) for one in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join([traced(before), *within, *format_tb(error.__traceback__), f"{_told(error)}\n"])


def _told(error: BaseException) -> str:
    said = error if isinstance(error, ScorelineError) else error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


class _Text(logging.Formatter):
    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return traced(ei[1]).rstrip()


def _name(record: Any) -> bool:
    found = ids()
    record.ids = found
    record.about = " ({})".format(", ".join(f"{name} {text}" for name, text in found.items())) if found else ""
    return True
