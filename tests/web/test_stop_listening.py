"""A listener that is told to take no new connection loses none that its clients believe they have."""

import socket

import pytest

from scoreline.web.server import listen, stop_listening


def assert_answered(listener: socket.socket, client: socket.socket) -> None:
    listener.settimeout(5)
    accepted, _ = listener.accept()
    with accepted:
        accepted.sendall(b"x")
        assert client.recv(1) == b"x"


def test_a_connection_in_the_queue_is_still_taken() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname(), timeout=5) as client:
        stop_listening(listener)
        assert_answered(listener, client)


def test_a_handshake_half_done_still_completes() -> None:
    """With TCP_DEFER_ACCEPT the server's side is not done before data comes, while the client counts itself connected:
    the moment between two segments, made long enough to act in it."""
    with listen("127.0.0.1", 0) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        with socket.create_connection(listener.getsockname(), timeout=5) as client:
            stop_listening(listener)
            client.sendall(b"a request")
            assert_answered(listener, client)


def test_nobody_new_is_taken() -> None:
    with listen("127.0.0.1", 0) as listener, socket.socket() as late:
        stop_listening(listener)
        late.settimeout(0.5)
        with pytest.raises(TimeoutError):
            late.connect(listener.getsockname())
