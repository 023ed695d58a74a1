"""Bytes on a socket as they are, and the answers that came back."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Raw:
    """One answer on the wire."""

    status: int
    headers: Mapping[str, str]
    text: str


def request(body: bytes, *headers: bytes, path: bytes = b"/predict", close: bool = False) -> bytes:
    """A POST of JSON with its true length, where `headers` say nothing of it."""
    lines = [b"POST %s HTTP/1.1" % path, b"host: localhost", b"content-type: application/json", *headers]
    if not any(b"content-length" in line.lower() or b"transfer-encoding" in line.lower() for line in headers):
        lines.append(b"content-length: %d" % len(body))
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def exchange(port: int, *pieces: bytes, half_close: bool = False, patience_s: float = 20) -> list[Raw]:
    """Sends pieces, with `half_close` says that nothing more comes, and reads every answer until the service closes."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):  # it answered and closed before it had read all
            pass
        try:
            while more := connection.recv(1 << 16):
                received += more
        except ConnectionResetError:
            pass
    return answers(received)


def answers(received: bytes) -> list[Raw]:
    """The answers in a stream, each as long as its length says."""
    found: list[Raw] = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        found.append(Raw(int(first.split(" ")[1]), headers, rest[:length].decode()))
        received = rest[length:]
    return found
