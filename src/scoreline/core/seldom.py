"""A log that nobody can flood: of what is said again and again a few lines are written, and then how often it was."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

PAUSE_S: Final = 10.0
LINES: Final = 20  # each tells of another request
MOST: Final = 256


@dataclass(slots=True)
class _Said:
    until_s: float
    n_lines: int = 0
    n_more: int = 0


class Seldom(logging.LoggerAdapter[logging.Logger]):
    """A logger that says the same words in at most `LINES` lines of `PAUSE_S` seconds."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logger, {})
        self._clock = clock
        self._said: dict[str, _Said] = {}

    @property
    def level(self) -> int:
        return self.logger.level

    def log(self, level: int, msg: object, *args: object, **how: Any) -> None:
        text = str(msg) % args if args else str(msg)
        now_s, said = self._clock(), self._said.get(text)
        if said is None or now_s >= said.until_s:
            if len(self._said) >= MOST:
                self._said.clear()
            n_more = said.n_more if said is not None else 0
            self._said[text] = said = _Said(now_s + PAUSE_S)
            text += f" (and {n_more:,} times more since that was last said)" if n_more else ""
        if said.n_lines < LINES:
            said.n_lines += 1
            self.logger.log(level, "%s", text, **how)
        else:
            said.n_more += 1
