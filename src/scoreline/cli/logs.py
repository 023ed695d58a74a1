"""The log of a service: on standard error, as lines for people or as JSON for machines. No line has a row's values."""

import logging
import sys
from typing import Any, Final

from scoreline.core.about import ids
from scoreline.core.names import load

TEXT: Final = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s%(about)s"


def set_up_logging(form: str = "text", level: str = "INFO") -> None:
    """Lines with time, level, process, logger, and the ids of what they are about; `form`: text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_name)
    handler.setFormatter(logging.Formatter(TEXT) if form == "text" else load("scoreline.cli.jsonlines:formatter")())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in ("uvicorn", "alembic", "opentelemetry"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _name(record: Any) -> bool:
    found = ids()
    record.ids = found
    record.about = " ({})".format(", ".join(f"{name} {text}" for name, text in found.items())) if found else ""
    return True
