"""What a line of the log is about: ids of a request, a model, a version; never a value of a row."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_NOTHING: Final[Mapping[str, str]] = {}
_ABOUT: Final = ContextVar[Mapping[str, str]]("scoreline_about", default=_NOTHING)


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Lines that are logged meanwhile have these ids beside those they had."""
    token = _ABOUT.set({**_ABOUT.get(), **ids})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def ids() -> Mapping[str, str]:
    """What the line that is being logged is about."""
    return _ABOUT.get()
