"""The rest of a connection: what it sends meanwhile is kept, and is as old afterwards as it was."""

from typing import Final

from scoreline.web.line import Line

AT_ONCE_NS: Final = 100_000_000
REFUSALS: Final = 8  # in a rest, of what a client sent ahead


class Rest:
    """Of one connection. `held_ns`: when what it sent while it rested was there, after which nothing was read."""

    def __init__(self, line: Line) -> None:
        self.is_on = False
        self.held_ns = 0
        self._holds = False
        self._line = line
        self._turn = self._over_ns = 0
        self._n_refused = 0

    @property
    def is_full(self) -> bool:
        """Whether so many were refused that the others wait until it is over."""
        return self._n_refused >= REFUSALS

    def refused(self) -> bool:
        """A request was; whether the connection rests from now on, because the line is long."""
        begins = self._line.is_long and not self.is_on
        self.is_on = self.is_on or begins
        self._n_refused += self.is_on
        return begins

    def hold(self) -> None:
        """Something came: of this rest the first counts."""
        if not self._holds:
            self.held_ns, self._holds = self.arrived_ns(), True

    def end(self) -> bool:
        """Whether anything was held."""
        held, self.is_on, self._holds, self._n_refused = self._holds, False, False, 0
        self._line.turn()
        self._turn, self._over_ns = self._line.n_turns, self._line.arrived_ns
        return held

    def arrived_ns(self) -> int:
        """When bytes that are read in this turn were there: right after a rest it may have been all the time."""
        at_once = self._line.n_turns <= self._turn + 1 and self._line.arrived_ns - self._over_ns < AT_ONCE_NS
        held_ns, self.held_ns = self.held_ns, 0
        return held_ns if at_once and held_ns else self._line.arrived_ns
