"""A breaker: what does not answer costs its time once, and then is asked now and then until it answers again."""

import time
from collections.abc import Callable
from typing import Final

PAUSE_S: Final = 1.0


class Breaker:
    """Closed while all is well; open after a failure, but for one probe each `pause_s` seconds."""

    def __init__(self, pause_s: float = PAUSE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause_s = pause_s
        self._clock = clock
        self._until_s = 0.0
        self.is_open = False

    def allows(self) -> bool:
        """Whether to ask now; of those who ask while it is open, the first after the pause is the probe."""
        if not self.is_open:
            return True
        now_s = self._clock()
        if now_s < self._until_s:
            return False
        self._until_s = now_s + self._pause_s
        return True

    def worked(self) -> None:
        self.is_open = False

    def failed(self) -> bool:
        """Whether it was closed until now."""
        was_open, self.is_open = self.is_open, True
        self._until_s = self._clock() + self._pause_s
        return not was_open
