"""The request bodies that one event loop holds: beyond a bound no more is read, until some of them are answered.

A body of up to FREE_BYTES counts for nothing, so small requests never wait for large ones. Who began first is always
read on: bodies that fill all there is would else wait for one another.
"""

import time
from collections import OrderedDict
from typing import Final

from scoreline.web.transport import Gate

FREE_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 256 * 1024  # what the loop reads of a connection at once


class Body:
    """The body that comes on one connection, over which `gate` is. All moments are of `time.perf_counter_ns`.

    `due_ns` is up to when it has come as fast as it must; `is_counted`: something of it is held.
    """

    def __init__(self, bodies: "Bodies", gate: Gate) -> None:
        self.due_ns = 0
        self._bodies = bodies
        self._gate = gate
        self._n_bytes = 0
        self.is_counted = False

    def begin(self, now_ns: int) -> None:
        self.due_ns, self._n_bytes = now_ns, 0

    def came(self, n_bytes: int, worth_ns: int, now_ns: int, *, is_kept: bool) -> None:
        """So many bytes are here, which may take `worth_ns`; they are held until they are answered, if at all."""
        self.due_ns = min(self.due_ns + worth_ns, now_ns)
        self._n_bytes += n_bytes if is_kept else 0
        if is_kept and self._n_bytes > FREE_BYTES:
            self.is_counted = True
            self._bodies.add(self, n_bytes)

    def whole(self) -> None:
        """Nothing more comes of one that no more is read of."""
        self._bodies.go_on(self)

    def end(self) -> None:
        """Nothing of it is held any more."""
        self.is_counted = False
        self._bodies.end(self)

    def hold(self) -> None:
        self._gate.held_ns = time.perf_counter_ns()
        self._gate.pause_reading()

    def let_go(self) -> None:
        """What it was held for is not its fault."""
        self.due_ns += time.perf_counter_ns() - self._gate.held_ns
        self._gate.held_ns = 0
        self._gate.resume_reading()


class Bodies:
    """How many bytes of bodies are held, of at most about `most_bytes`: what was read at once comes on top."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._n_bytes = 0
        self._counted: OrderedDict[Body, int] = OrderedDict()
        self._held: OrderedDict[Body, None] = OrderedDict()

    def add(self, body: Body, n_bytes: int) -> None:
        """So much more is held; no more is read of a body where that is too much."""
        self._n_bytes += n_bytes
        self._counted[body] = self._counted.get(body, 0) + n_bytes
        is_first = body is next(iter(self._counted))
        if self._n_bytes > self._most_bytes and not is_first and body not in self._held:
            self._held[body] = None
            body.hold()

    def go_on(self, body: Body) -> None:
        """Whatever the others are."""
        if body in self._held:
            del self._held[body]
            body.let_go()

    def end(self, body: Body) -> None:
        self._n_bytes -= self._counted.pop(body, 0)
        self.go_on(body)
        self.look()

    def look(self) -> None:
        """Reads on as far as there is room, and of the one that began first."""
        room = self._most_bytes - self._n_bytes
        if self._counted:
            self.go_on(next(iter(self._counted)))
        while self._held and room > 0:
            self.go_on(next(iter(self._held)))
            room -= _READ_BYTES
