"""Clients that ask without pause, and keep what they were answered and what failed."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from service import FRAUD_ROW


class Client(threading.Thread):
    """One client: a connection kept alive, or a new one for each request; it retries nothing.

    `failures` are (local port, what happened). A connection refused at connect ends it and is no failure.
    """

    def __init__(self, port: int, row: Mapping[str, Any], *, reconnect: bool) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._body = json.dumps(row).encode()
        self._reconnect = reconnect
        self._connection: http.client.HTTPConnection | None = None
        self.enough = threading.Event()
        self.answers: list[dict[str, Any]] = []
        self.failures: list[tuple[int, str]] = []
        self.refused = False

    def run(self) -> None:
        while not self.enough.is_set():
            try:
                connection = self._connection or self._connect()
            except (ConnectionRefusedError, TimeoutError):
                self.refused = True
                return
            self._ask(connection)
        if self._connection:
            self._connection.close()

    @property
    def ids(self) -> list[str]:
        return [answer["prediction_id"] for answer in self.answers]

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection.sock = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        return connection

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        local_port = connection.sock.getsockname()[1]
        try:
            connection.request("POST", "/predict", self._body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.failures.append((local_port, repr(error)))
            connection.close()
            self._connection = None
            return
        if response.status == 200:
            self.answers.append(json.loads(body))
        else:
            self.failures.append((local_port, f"{response.status} {body!r}"))
        if self._reconnect or response.will_close:
            connection.close()
            self._connection = None


@contextmanager
def load(
    port: int, *, keep_alive: int, reconnecting: int = 0, row: Mapping[str, Any] = FRAUD_ROW
) -> Iterator[list[Client]]:
    """Runs clients for the time of the block; they have all ended after it."""
    clients = [Client(port, row, reconnect=False) for _ in range(keep_alive)]
    clients += [Client(port, row, reconnect=True) for _ in range(reconnecting)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.enough.set()
        for client in clients:
            client.join(60)
    assert not any(client.is_alive() for client in clients)


def failures_of(clients: list[Client]) -> list[tuple[int, str]]:
    return [failure for client in clients for failure in client.failures]


def ids_of(clients: list[Client]) -> list[str]:
    return [found for client in clients for found in client.ids]
