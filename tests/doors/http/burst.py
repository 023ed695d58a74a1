"""Requests that all come at once, each on a connection of its own, and their answers in the order they came."""

import json
import selectors
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Answered:
    """One answer: which request, its status, its headers by lower-case name, its body."""

    number: int
    status: int
    headers: Mapping[str, str]
    body: Any


def request(path: str = "/predict", row: Mapping[str, Any] | None = None, **headers: str) -> bytes:
    """A POST of a row, or a GET where there is none."""
    named = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
    if row is None:
        return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n{named}\r\n".encode()
    body = json.dumps(row)
    length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{length}{named}\r\n{body}".encode()


@contextmanager
def connected(port: int, n: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)) for _ in range(n)]


def burst(port: int, requests: list[bytes]) -> list[Answered]:
    """All of them at once; the answers in the order they came, one whose connection was closed is not among them."""
    with connected(port, len(requests)) as sockets:
        for found, sent in zip(sockets, requests, strict=True):
            found.sendall(sent)
        return list(answers(sockets))


def answers(sockets: list[socket.socket]) -> Iterator[Answered]:
    """The first answer on each connection, in the order they come."""
    with selectors.DefaultSelector() as selector:
        for number, found in enumerate(sockets):
            selector.register(found, selectors.EVENT_READ, number)
        while selector.get_map():
            events = selector.select(PATIENCE_S)
            assert events, "no answer comes"
            for key, _ in events:
                assert isinstance(key.fileobj, socket.socket)
                selector.unregister(key.fileobj)
                if (answer := read_answer(key.fileobj, key.data)) is not None:
                    yield answer


def read_answer(found: socket.socket, number: int = 0) -> Answered | None:
    """One answer, None where the connection ends before it has begun."""
    with found.makefile("rb") as file:
        return next_answer(file, number)


def next_answer(file: IO[bytes], number: int = 0) -> Answered | None:
    """The same of several that come on one connection."""
    status = file.readline()
    if not status:
        return None
    headers = dict(line.decode().rstrip().lower().split(": ", 1) for line in iter(file.readline, b"\r\n"))
    body = file.read(int(headers["content-length"]))
    return Answered(number, int(status.split()[1]), headers, json.loads(body) if body else None)
