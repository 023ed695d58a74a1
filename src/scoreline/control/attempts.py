"""What a steward's threads try for ever: nothing is raised, and what goes wrong is said once, until it goes right."""

import logging
from collections.abc import Callable
from typing import Final

from scoreline.core.errors import DatabaseDown, ScorelineError

PUT_OFF: Final = "%s: put off: %s"


class Attempts:
    """Attempts at several things, by their names in the log, which `says` how it goes on.

    `on_new` is told of each error that was not said before.
    """

    def __init__(
        self, log: logging.Logger, says: str = PUT_OFF, on_new: Callable[[Exception], None] = lambda _: None
    ) -> None:
        self._log = log
        self._says = says
        self._on_new = on_new
        self._said: dict[str, str] = {}

    @property
    def said(self) -> str | None:
        """What is wrong now with the first thing that anything is wrong with."""
        return next(filter(None, self._said.values()), None)

    def __call__(self, name: str, act: Callable[[], object]) -> bool:
        """Whether it went right."""
        said = ""
        try:
            act()
        except (ScorelineError, OSError) as error:
            said = "the database cannot be asked" if isinstance(error, DatabaseDown) else str(error)
            if said != self._said.get(name):
                self._log.error(self._says, name, said)
                self._on_new(error)
        except Exception as error:
            said = type(error).__name__
            if said != self._said.get(name):
                self._log.exception(self._says, name, said)
        self._said[name] = said
        return not said
