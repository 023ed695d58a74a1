"""The connections of a worker: how many there are, and how long a client may take for each part of a request.

One look over all of them, five times a second, takes the place of a timer for each.
"""

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final, Protocol

GUESTS: Final = 64
REST_NS: Final = 500_000_000
_SPARE: Final = 32  # of the connections, one in so many is closed to make room
_MS: Final = 1_000_000
_S: Final = 1_000_000_000

IDLE: Final = "idle"  # no request, or none yet
HEAD: Final = "head"  # a head has begun
BODY: Final = "body"  # a body is under way, and read
HELD: Final = "held"  # a body is under way, and not read: there is no room for it
UNREAD: Final = "unread"  # answers that the client does not take
BUSY: Final = "busy"  # it is our turn


@dataclass(frozen=True, slots=True)
class Limits:
    """Of clients. `n_per_peer` is of one address, 0: any number; a body may be `body_ms` behind `body_bytes_per_s`, and
    is held for as long where all of them are more than `bodies_bytes`.
    """

    n_connections: int = 4096
    n_per_peer: int = 0
    keep_alive_s: int = 5
    head_ms: int = 10_000
    body_ms: int = 10_000
    body_bytes_per_s: int = 1024
    bodies_bytes: int = 256 * 1024**2
    unread_ms: int = 30_000


class Connection(Protocol):
    """What is asked of a connection, and done with it."""

    @property
    def peer(self) -> str: ...

    def state(self) -> tuple[str, int]:
        """What is waited for, and since when (`time.perf_counter_ns`)."""
        ...

    @property
    def is_closing(self) -> bool: ...

    def end(self, *, late: bool) -> None:
        """Closes it, once what is written has left; `late`: with a word that the request took too long to come."""
        ...

    def drop(self) -> None:
        """Cuts it, whatever has not left."""
        ...

    def read_again(self) -> None:
        """Its rest is over."""
        ...


class Connections:
    """All connections of one event loop, within limits.

    Who comes when all places are taken gets that of the client that has been silent longest. Where none is silent, it
    is a guest, of whom a few are let in: guests are told whether the service is well, and nothing else.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._all: set[Connection] = set()
        self._by_peer: Counter[str] = Counter()
        self._freed = 0
        self._is_looked_through = False  # since the last look: there are not more who are silent
        self._closing: dict[Connection, int] = {}
        self._resting: deque[tuple[int, Connection]] = deque()

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, connection: Connection) -> bool:
        """Takes a connection in, or drops it; False: as a guest."""
        self._all.add(connection)
        self._by_peer[connection.peer] += 1
        limits, n_here = self._limits, len(self._all)
        if limits.n_per_peer and self._by_peer[connection.peer] > limits.n_per_peer:
            connection.drop()
            return False
        if n_here <= limits.n_connections:
            self._freed = 0
            return True
        if self._freed or self._make_room(connection):
            self._freed -= 1
            return True
        if n_here > limits.n_connections + GUESTS:
            connection.drop()
        return False

    def leave(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._closing.pop(connection, None)
        self._by_peer[connection.peer] -= 1
        if not self._by_peer[connection.peer]:
            del self._by_peer[connection.peer]

    def rest(self, connection: Connection) -> None:
        """Nothing is read of a client for a while: beyond capacity, reading and refusing would take what answers need.

        So each client costs a few refusals a second at most, however much it sends.
        """
        self._resting.append((time.perf_counter_ns(), connection))

    def look(self) -> None:
        """Ends every connection whose client takes too long, and every rest that was long enough."""
        self._is_looked_through = False
        now_ns = time.perf_counter_ns()
        while self._resting and self._resting[0][0] < now_ns - REST_NS:
            self._resting.popleft()[1].read_again()
        for connection in list(self._all):
            if connection.is_closing:
                if now_ns - self._closing.setdefault(connection, now_ns) > self._limits.unread_ms * _MS:
                    connection.drop()
                continue
            state, since_ns = connection.state()
            if state != BUSY and now_ns - since_ns > self._allowed_ns(state):
                if state == UNREAD:
                    connection.drop()
                else:
                    connection.end(late=state != IDLE)

    def worth_ns(self, n_bytes: int) -> int:
        """How long so many bytes of a body may take."""
        return n_bytes * _S // self._limits.body_bytes_per_s

    def _allowed_ns(self, state: str) -> int:
        limits = self._limits
        if state == IDLE:
            return limits.keep_alive_s * _S
        return {HEAD: limits.head_ms, BODY: limits.body_ms, HELD: limits.body_ms}.get(state, limits.unread_ms) * _MS

    def _make_room(self, newest: Connection) -> bool:
        """Closes some of those that have been silent longest; whether there were any.

        Where there are fewer than wanted nobody is looked for until the next look: each newcomer would cost one at all.
        """
        if self._is_looked_through:
            return False
        wanted = 1 + self._limits.n_connections // _SPARE
        some = nsmallest(wanted, self._silent(newest), key=lambda found: found[0])
        self._is_looked_through = len(some) < wanted
        for _, connection in some:
            connection.end(late=False)
        self._freed = len(some)
        return bool(some)

    def _silent(self, newest: Connection) -> Iterator[tuple[int, Connection]]:
        for connection in self._all:
            if connection is not newest and not connection.is_closing:
                state, since_ns = connection.state()
                if state in (IDLE, HEAD):
                    yield since_ns, connection
