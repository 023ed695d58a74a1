"""A listener that is told to take no new connection loses none that its clients believe they have."""

import socket

import pytest

from scoreline.web import server
from scoreline.web.server import hear_all, listen, stop_listening

HOSTS = pytest.mark.parametrize("host", ("127.0.0.1", "::1"))


@pytest.fixture(params=("filter", "hops"), autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a filter, and as where the kernel lets this process have none."""
    if request.param == "hops":
        monkeypatch.setattr(server, "_SO_ATTACH_FILTER", 0xFFFF)


def assert_answered(listener: socket.socket, client: socket.socket) -> None:
    listener.settimeout(5)
    accepted, _ = listener.accept()
    hear_all(accepted.fileno())
    with accepted:
        accepted.settimeout(5)
        accepted.sendall(b"x")
        assert client.recv(1) == b"x"
        client.sendall(b"goes on")
        assert accepted.recv(100).endswith(b"goes on")


@HOSTS
def test_a_connection_in_the_queue_is_still_taken(host: str) -> None:
    with listen(host, 0) as listener, socket.create_connection(listener.getsockname()[:2], timeout=5) as client:
        stop_listening(listener)
        assert_answered(listener, client)


@HOSTS
def test_a_handshake_half_done_still_completes(host: str) -> None:
    """With TCP_DEFER_ACCEPT the server's side is not done before data comes, while the client counts itself connected:
    the moment between two segments, made long enough to act in it."""
    with listen(host, 0) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        with socket.create_connection(listener.getsockname()[:2], timeout=5) as client:
            stop_listening(listener)
            client.sendall(b"a request")
            listener.settimeout(5)
            accepted, _ = listener.accept()
            hear_all(accepted.fileno())
            with accepted:
                accepted.settimeout(5)
                assert accepted.recv(100) == b"a request"
                accepted.sendall(b"x")
                assert client.recv(1) == b"x"
                client.sendall(b"another")
                assert accepted.recv(100) == b"another"


@HOSTS
def test_nobody_new_is_taken(host: str) -> None:
    with listen(host, 0) as listener, socket.socket(listener.family) as late:
        stop_listening(listener)
        late.settimeout(0.5)
        with pytest.raises(TimeoutError):
            late.connect(listener.getsockname())


def test_one_of_version_4_at_a_listener_of_version_6_is_not_taken_either() -> None:
    with listen("::", 0) as listener, socket.socket() as late:
        stop_listening(listener)
        late.settimeout(0.5)
        with pytest.raises(TimeoutError):
            late.connect(("127.0.0.1", listener.getsockname()[1]))
