"""What a steward's thread tries for ever: it never raises, and what goes wrong is said once, until it goes right."""

import logging
from collections.abc import Callable

from scoreline.core.errors import DatabaseDown, ScorelineError


class Attempts:
    """Attempts at one thing, called `what` in the log; `said` is what is wrong now, empty: nothing."""

    def __init__(self, what: str, log: logging.Logger) -> None:
        self._what = what
        self._log = log
        self.said = ""

    def __call__(self, act: Callable[[], None]) -> bool:
        """Whether it went right."""
        said = ""
        try:
            act()
        except DatabaseDown:
            said = "the database cannot be asked"
        except ScorelineError as error:
            said = str(error)
        except Exception as error:
            said = type(error).__name__
            if said != self.said:
                self._log.exception("%s failed", self._what)
        if said and said != self.said:
            self._log.error("%s is put off: %s", self._what, said)
        self.said = said
        return not said
