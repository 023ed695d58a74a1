"""Clients that ask when it is their time, whatever is answered: `openloop.py PORT BODY CONNECTIONS RATE SECONDS ...`.

Requests fall due as a Poisson process of so many a second, for so many seconds; more pairs of rate and seconds follow
at once. One that is due takes a connection nobody uses; where there is none it waits for one for a while, as a client's
pool does, and then counts as not sent. Every time is counted from when a request was due, so that nothing is left out
because an answer before it was late. One thread, raw sockets, epoll: it prints one JSON object, with its own lag.
"""

import json
import select
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

import numpy as np

IN_TIME_S: Final = 0.2
POOL_S: Final = 0.05
LAST_S: Final = 2.0
SEED: Final = 6
NOT_SENT: Final = 0


class Clients:
    """All connections, and what became of each request: its due time, its status, when it was answered."""

    def __init__(self, port: int, body: bytes, n_connections: int) -> None:
        self._port = port
        head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        self._request = head + b"content-length: %d\r\n\r\n%s" % (len(body), body)
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._due: dict[int, float] = {}
        self._parts: dict[int, bytes] = {}
        self._free: deque[int] = deque()
        self.answers: list[tuple[float, int, float]] = []
        self.lags: list[float] = []
        for _ in range(n_connections):
            self._connect()
        for found in self._sockets.values():  # each is known to the service before it counts
            found.setblocking(True)
            found.sendall(b"GET /healthz/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            found.recv(65_536)
            found.setblocking(False)

    def run(self, due: list[float]) -> None:
        """Asks at these times, counted from now, and waits for what is under way then."""
        start_s = time.perf_counter()
        due = [start_s + at for at in due]
        at, pool, end_s = 0, deque[float](), due[-1] + LAST_S
        while True:
            now_s = time.perf_counter()
            while at < len(due) and due[at] <= now_s:
                pool.append(due[at])
                at += 1
            while pool and self._free:
                self._send(pool.popleft(), now_s)
            while pool and pool[0] < now_s - POOL_S:
                self.answers.append((pool.popleft() - start_s, NOT_SENT, now_s - start_s))
            for fd, _ in self._epoll.poll(0):
                self._receive(fd, start_s)
            if at == len(due) and not pool and (not self._due or now_s > end_s):
                break
        self.answers += [(asked - start_s, NOT_SENT, end_s - start_s) for asked in self._due.values()]

    def _connect(self) -> None:
        found = socket.create_connection(("127.0.0.1", self._port))
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.setblocking(False)
        self._sockets[found.fileno()] = found
        self._epoll.register(found.fileno(), select.EPOLLIN)
        self._free.append(found.fileno())

    def _send(self, due_s: float, now_s: float) -> None:
        fd = self._free.popleft()
        try:
            self._sockets[fd].send(self._request)
        except OSError:  # the service closed it while it was idle
            self._reconnect(fd)
            fd = self._free.pop()
            self._sockets[fd].send(self._request)
        self._due[fd] = due_s
        self.lags.append(now_s - due_s)

    def _receive(self, fd: int, start_s: float) -> None:
        try:
            data = self._sockets[fd].recv(65_536)
        except OSError:
            data = b""
        now_s = time.perf_counter()
        if not data:
            if fd in self._due:
                self.answers.append((self._due.pop(fd) - start_s, NOT_SENT, now_s - start_s))
            elif fd in self._free:
                self._free.remove(fd)
            self._reconnect(fd)
            return
        data = self._parts.pop(fd, b"") + data
        head, _, body = data.partition(b"\r\n\r\n")
        length = head.find(b"content-length: ")
        if length < 0 or len(body) < int(head[length + 16 :].split(b"\r\n", 1)[0]):
            self._parts[fd] = data
            return
        self.answers.append((self._due.pop(fd) - start_s, int(data[9:12]), now_s - start_s))
        if b"connection: close" in head:
            self._reconnect(fd)
        else:
            self._free.append(fd)

    def _reconnect(self, fd: int) -> None:
        self._epoll.unregister(fd)
        self._sockets.pop(fd).close()
        self._parts.pop(fd, None)
        self._connect()


def told(clients: Clients, phases: list[tuple[float, float]]) -> dict[str, Any]:
    """What became of the requests of each phase, and when after the last change of rate all was well for good."""
    due, status, done = (np.array(column) for column in zip(*clients.answers, strict=True))
    good = (status == 200) & (done - due <= IN_TIME_S)
    found, begin_s = [], 0.0
    for rate, seconds in phases:
        here = (due >= begin_s) & (due < begin_s + seconds)
        answered = here & (status == 200)
        took = (done - due)[answered]
        found.append(
            {
                "rate": rate,
                "offered_per_s": float(here.sum() / seconds),
                "goodput_per_s": float((here & good).sum() / seconds),
                "refused": int((here & (status == 503)).sum()),
                "not_sent": int((here & (status == NOT_SENT)).sum()),
                "other": int((here & ~np.isin(status, (200, 503, NOT_SENT))).sum()),
                "p50_ms": float(np.quantile(took, 0.5) * 1e3) if len(took) else None,
                "p99_ms": float(np.quantile(took, 0.99) * 1e3) if len(took) else None,
            }
        )
        begin_s += seconds
    changed_s = begin_s - phases[-1][1]
    bad = due[(due >= changed_s) & ~good]
    lags_ms = np.array(clients.lags) * 1e3
    return {
        "phases": found,
        "recovered_s": float(bad.max() - changed_s) if len(bad) else 0.0,
        "lag_p99_ms": float(np.quantile(lags_ms, 0.99)),
    }


def due_times(phases: list[tuple[float, float]]) -> list[float]:
    rng, found, begin_s = np.random.default_rng(SEED), list[float](), 0.0
    for rate, seconds in phases:
        gaps = rng.exponential(1 / rate, int(rate * seconds * 1.2) + 100)
        times = np.cumsum(gaps)
        found += (begin_s + times[times < seconds]).tolist()
        begin_s += seconds
    return found


def main() -> None:
    port, body, n_connections, *numbers = sys.argv[1:]
    phases = [(float(numbers[at]), float(numbers[at + 1])) for at in range(0, len(numbers), 2)]
    clients = Clients(int(port), Path(body).read_bytes(), int(n_connections))
    clients.run(due_times(phases))
    print(json.dumps(told(clients, phases)))


if __name__ == "__main__":
    main()
