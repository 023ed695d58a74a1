"""Corked writes leave once per turn of the loop, in order, and nothing is left behind."""

import asyncio
import gc
import weakref
from functools import partial
from typing import Any

import pytest
import uvicorn

from scoreline.web.corked import CorkedProtocol
from scoreline.web.transport import Cork, CorkedTransport


class Wire:
    """A transport that notes what is done with it."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.done

    def get_extra_info(self, name: str) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return lambda *_: name


def test_what_is_written_in_one_turn_leaves_as_one_write_per_connection() -> None:
    async def go() -> tuple[Wire, Wire]:
        cork = Cork(asyncio.get_running_loop())
        first, second = Wire(), Wire()
        one, other = CorkedTransport(first, cork), CorkedTransport(second, cork)
        one.write(b"a")
        other.write(b"x")
        one.write(b"b")
        assert (first.done, second.done) == ([], [])
        await asyncio.sleep(0)
        assert (first.done, second.done) == ([b"ab"], [b"x"])
        one.write(b"c")
        await asyncio.sleep(0)
        return first, second

    first, second = asyncio.run(go())
    assert (first.done, second.done) == ([b"ab", b"c"], [b"x"])


def test_nothing_leaves_before_the_commit_and_what_it_refuses_is_replaced() -> None:
    async def go() -> tuple[list[Any], list[Any], list[str]]:
        first, second, lost = Wire(), Wire(), []
        held: list[tuple[CorkedTransport, int, Any]] = []

        def commit() -> None:
            assert b"".join(found for wire in (first, second) for found in wire.done).count(b"answer") == 0
            for transport, position, never_left in held:
                transport.replace(position, b"refusal;", never_left)
            held.clear()

        cork = Cork(asyncio.get_running_loop(), commit)
        one, other = CorkedTransport(first, cork), CorkedTransport(second, cork)
        one.write(b"page;")
        for transport, name in ((one, "a"), (one, "b"), (other, "c")):
            never_left = partial(lost.append, name)
            held.append((transport, transport.expect(never_left), never_left))
            transport.write(b"answer;")
        one.write(b"page;")
        await asyncio.sleep(0)
        one.lost(None)
        other.lost(None)
        return first.done, second.done, lost

    first, second, lost = asyncio.run(go())
    assert (first, second) == ([b"page;refusal;refusal;page;"], [b"refusal;"])
    assert lost == []  # nobody needs to know that a refusal did not leave


@pytest.mark.parametrize(("how", "marked"), (("reset", True), ("aborted", True), ("closed", False)))
def test_an_answer_is_marked_where_its_connection_failed_before_it_had_left(how: str, marked: bool) -> None:
    """Even if someone looks between the failure, which empties the buffer, and the word of it."""

    class Slow(Wire):
        left, closing = 9, False

        def get_write_buffer_size(self) -> int:
            return self.left

        def is_closing(self) -> bool:
            return self.closing

    async def go() -> list[str]:
        wire, lost = Slow(), []
        transport = CorkedTransport(wire, Cork(asyncio.get_running_loop()))
        transport.expect(lambda: lost.append("never left"))
        transport.write(b"an answer")
        await asyncio.sleep(0)
        if how == "aborted":
            transport.abort()
        wire.left, wire.closing = 0, True
        transport.look()
        transport.lost(ConnectionResetError() if how == "reset" else None)
        return lost

    assert asyncio.run(go()) == ["never left"] * marked


def test_an_answer_too_large_to_keep_is_committed_before_it_leaves() -> None:
    async def go() -> list[Any]:
        wire = Wire()
        transport = CorkedTransport(wire, Cork(asyncio.get_running_loop(), lambda: wire.done.append("committed")))
        transport.write(b"x" * 70_000)
        return wire.done

    assert [found if found == "committed" else len(found) for found in asyncio.run(go())] == ["committed", 70_000]


def test_closing_sends_what_is_kept_first_and_once() -> None:
    async def go() -> Wire:
        wire = Wire()
        transport = CorkedTransport(wire, Cork(asyncio.get_running_loop()))
        transport.write(b"a")
        transport.close()
        await asyncio.sleep(0)
        return wire

    assert asyncio.run(go()).done == [b"a", "closed"]


def test_everything_else_goes_to_the_transport_itself() -> None:
    async def go() -> None:
        wire = Wire()
        transport = CorkedTransport(wire, Cork(asyncio.get_running_loop()))
        assert transport.is_closing() is False
        assert transport.pause_reading() == "pause_reading"
        wire.close()
        assert transport.is_closing() is True

    asyncio.run(go())


def received(*pieces: bytes) -> tuple[Wire, list[bytes]]:
    """What the protocol writes for what it receives, and the bodies its app was given."""
    bodies: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def go() -> Wire:
        config = uvicorn.Config(app, http=CorkedProtocol, lifespan="off", log_config=None)
        config.load()
        wire = Wire()
        protocol = CorkedProtocol(config, uvicorn.Server(config).server_state, {}, asyncio.get_running_loop())
        protocol.connection_made(wire)  # type: ignore[arg-type]
        for piece in pieces:
            protocol.data_received(piece)
        for _ in range(20):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        return wire

    return asyncio.run(go()), bodies


def post(body: bytes, head: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nhost: x\r\n%scontent-length: %d\r\n\r\n%s" % (head, len(body), body)


@pytest.mark.parametrize("size", (10, 70_000, 200_000))
def test_a_large_request_that_comes_in_one_piece_is_no_large_head(size: int) -> None:
    wire, bodies = received(post(b"x" * size), post(b"y" * size))
    assert bodies == [b"x" * size, b"y" * size]
    assert b"".join(found for found in wire.done if found != "closed").count(b"HTTP/1.1 200") == 2
    assert not any(b"431" in found for found in wire.done if found != "closed")


def test_a_head_that_is_too_large_is_answered_431_and_the_connection_closed() -> None:
    piece = b"x-more: " + b"x" * 1000 + b"\r\n"
    wire, bodies = received(b"POST / HTTP/1.1\r\nhost: x\r\n", *[piece] * 80)
    assert bodies == []
    assert wire.done[0].startswith(b"HTTP/1.1 431")
    assert b"/errors/head-too-large" in wire.done[0]
    assert "closed" in wire.done


def test_an_offered_upgrade_is_ignored_and_the_body_kept() -> None:
    head = b"connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    assert received(post(b'{"amount": 1}', head))[1] == [b'{"amount": 1}']
    kept = b"a\r\nupgrade: of the body stays"
    assert received(post(kept, head))[1] == [kept]


class AtOnce:
    """An app that answers at once what is wholly there, by its path; `/task` goes the way of ASGI."""

    def __init__(self) -> None:
        self.tasks = 0

    def waits(self, scope: Any) -> bool:
        return scope["path"] == "/wait"

    def at_once(self, scope: Any, body: bytes) -> Any:
        if scope["path"] == "/task":
            return None
        sent = b"at once " + scope["path"].encode() + b" " + body
        headers = [(b"content-length", b"%d" % len(sent))]
        return 200, headers + ([(b"connection", b"close")] if scope["path"] == "/last" else []), sent

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.tasks += 1
        await asyncio.sleep(0)
        sent = b"task " + body
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(sent))]}
        await send(start)
        await send({"type": "http.response.body", "body": sent})


def answers(app: Any, *pieces: bytes, before: Any = lambda _: None) -> tuple[list[bytes], bool]:
    """The bodies of all answers in order, and whether the connection was closed."""

    async def go() -> list[Any]:
        config = uvicorn.Config(app, http=CorkedProtocol, lifespan="off", log_config=None, proxy_headers=False)
        config.load()
        wire = Wire()
        protocol = CorkedProtocol(config, uvicorn.Server(config).server_state, {}, asyncio.get_running_loop())
        protocol.connection_made(wire)  # type: ignore[arg-type]
        before(protocol)
        for piece in pieces:
            protocol.data_received(piece)
        for _ in range(50):
            await asyncio.sleep(0)
        found = list(wire.done)
        protocol.connection_lost(None)
        return found

    done = asyncio.run(go())
    raw = b"".join(found for found in done if found != "closed")
    heads = [piece.partition(b"\r\n\r\n")[2] for piece in raw.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    return heads, "closed" in done


def ask(path: bytes, body: bytes, head: bytes = b"") -> bytes:
    return post(body, head).replace(b"POST / ", b"POST %s " % path)


def test_a_request_that_is_wholly_there_is_answered_without_a_task() -> None:
    app = AtOnce()
    assert answers(app, ask(b"/a", b"1"), ask(b"/b", b"2")) == ([b"at once /a 1", b"at once /b 2"], False)
    assert app.tasks == 0


def test_pipelined_requests_are_answered_in_order_whichever_way_each_goes() -> None:
    app = AtOnce()
    paths = [b"/task" if number % 3 == 1 else b"/a" for number in range(30)]
    whole = b"".join(ask(path, b"%d" % number) for number, path in enumerate(paths))
    wanted = [
        b"task %d" % number if path == b"/task" else b"at once /a %d" % number for number, path in enumerate(paths)
    ]
    for cut in (0, 1, 37, 70, 111, len(whole) // 2):
        assert answers(app, whole[:cut], whole[cut:])[0][: len(wanted)] == wanted


def test_thousands_of_pipelined_requests_do_not_pile_up_on_the_stack() -> None:
    found, _ = answers(AtOnce(), ask(b"/a", b"1") * 5000)
    assert found == [b"at once /a 1"] * 5000


def test_a_body_that_comes_later_goes_the_way_of_asgi() -> None:
    app = AtOnce()
    request = ask(b"/a", b"12345")
    assert answers(app, request[:-3], request[-3:])[0] == [b"task 12345"]
    assert answers(app, ask(b"/a", b"12345", b"expect: 100-continue\r\n")[:-5], b"12345")[0] == [b"task 12345"]


def test_an_answer_that_closes_and_a_request_that_asks_for_it_close() -> None:
    assert answers(AtOnce(), ask(b"/last", b"") + ask(b"/a", b"")) == ([b"at once /last "], True)
    assert answers(AtOnce(), ask(b"/a", b"", b"connection: close\r\n")) == ([b"at once /a "], True)
    assert answers(AtOnce(), ask(b"/a", b"").replace(b"HTTP/1.1", b"HTTP/1.0")) == ([b"at once /a "], True)


def test_to_a_client_that_does_not_read_answers_wait() -> None:
    """Way of ASGI: `send` waits until the client has read what is written."""
    app = AtOnce()
    assert answers(app, ask(b"/a", b"1"), before=lambda protocol: protocol.pause_writing())[0] == []
    assert app.tasks == 1


def test_a_body_that_is_worth_waiting_for_is_waited_for_without_a_task() -> None:
    app = AtOnce()
    request = ask(b"/wait", b"x" * 200_000)
    pieces = [request[at : at + 30_000] for at in range(0, len(request), 30_000)]
    found, closed = answers(app, *pieces, ask(b"/a", b"2"))
    assert (found, closed, app.tasks) == ([b"at once /wait " + b"x" * 200_000, b"at once /a 2"], False, 0)


@pytest.mark.parametrize(
    "sent", (-3, None), ids=("a client that leaves before its body is whole", "one that is answered")
)
def test_nothing_of_a_request_is_kept_when_its_connection_is_gone(sent: int | None) -> None:
    kept: list[Any] = []

    def remember(protocol: CorkedProtocol) -> None:
        kept.append(weakref.ref(protocol))

    gc.disable()
    try:
        answers(AtOnce(), ask(b"/wait", b"x" * 1000)[:5], ask(b"/wait", b"x" * 1000)[5:sent], before=remember)
        assert kept[0]() is None
    finally:
        gc.enable()


def test_one_connection_that_cannot_be_written_to_keeps_no_other_from_its_answer() -> None:
    class Broken(Wire):
        def write(self, data: bytes) -> None:
            raise RuntimeError("the handler is closed")

    async def go() -> Wire:
        cork = Cork(asyncio.get_running_loop())
        broken, good = Broken(), Wire()
        for wire in (broken, good):
            CorkedTransport(wire, cork).write(b"a")
        broken.done.append("closed")
        await asyncio.sleep(0)
        return good

    assert asyncio.run(go()).done == [b"a"]


def test_what_is_kept_is_bounded_so_that_the_transport_can_ask_to_pause() -> None:
    async def go() -> Wire:
        wire = Wire()
        transport = CorkedTransport(wire, Cork(asyncio.get_running_loop()))
        for _ in range(3):
            transport.write(b"x" * 40_000)
        return wire

    assert [len(piece) for piece in asyncio.run(go()).done] == [80_000, 40_000]


def test_a_piece_that_ends_in_a_head_is_no_large_head() -> None:
    whole = ask(b"/a", b"1") * 3000
    found, closed = answers(AtOnce(), whole[:-20], whole[-20:])
    assert (len(found), closed) == (3000, False)


def test_nothing_is_decided_for_a_client_that_was_refused() -> None:
    app = AtOnce()
    found, closed = answers(app, ask(b"/a", b"1") + b"GARBAGE\r\n\r\n")
    assert (found, closed) == ([], True)


CHUNKED = b"POST /wait HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"


def test_trailers_change_no_header() -> None:
    seen: list[Any] = []

    class Seeing(AtOnce):
        def at_once(self, scope: Any, body: bytes) -> Any:
            seen.append(scope["headers"])
            return super().at_once(scope, body)

    for pieces in ((CHUNKED + b"host: evil\r\nx-request-id: b\r\n\r\n",), (CHUNKED, b"host: evil\r\n", b"\r\n")):
        found, closed = answers(Seeing(), *pieces, ask(b"/a", b"2"))
        assert (found[-1], closed) == (b"at once /a 2", False)
    assert seen
    assert all(dict(headers)[b"host"] == b"x" and b"x-request-id" not in dict(headers) for headers in seen)


@pytest.mark.parametrize("piece", (b"x-a: b\r\n" * 1000, b"b" * 8000), ids=("many", "one that does not end"))
@pytest.mark.parametrize("path", (b"/wait", b"/task"))
def test_trailers_beyond_64_kib_are_answered_431_and_left(piece: bytes, path: bytes) -> None:
    wire, bodies = received(CHUNKED.replace(b"/wait", path) + b"x: ", *[piece] * 9)
    assert bodies == []
    assert wire.done[0].startswith(b"HTTP/1.1 431")
    assert wire.done[-1] == "closed"


def test_trailers_of_a_request_that_was_answered_are_left_without_a_second_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def go() -> list[Any]:
        config = uvicorn.Config(app, http=CorkedProtocol, lifespan="off", log_config=None)
        config.load()
        wire = Wire()
        protocol = CorkedProtocol(config, uvicorn.Server(config).server_state, {}, asyncio.get_running_loop())
        protocol.connection_made(wire)  # type: ignore[arg-type]
        for piece in (CHUNKED, *[b"x-a: b\r\n" * 1000] * 20):
            if not wire.is_closing():
                protocol.data_received(piece)
            for _ in range(3):
                await asyncio.sleep(0)
        return wire.done

    done = asyncio.run(go())
    assert b"".join(done[:-1]).count(b"HTTP/1.1 ") == 1
    assert done[-1] == "closed"


@pytest.mark.parametrize("beyond", (0, 1))
@pytest.mark.parametrize("before", (b"", post(b"z" * 100_000)), ids=("alone", "behind another request"))
@pytest.mark.parametrize("cut", (None, 60_000, 64_000, -5))
def test_64_kib_of_headers_are_counted_exactly_in_however_many_pieces(beyond: int, before: bytes, cut: int) -> None:
    fixed = len(b"/") + len(b"host: x\r\n") + len(b"content-length: 1\r\n") + len(b"a: \r\n")
    request = before + post(b"1", b"a: %s\r\n" % (b"b" * (65_536 - fixed + beyond)))
    pieces = (request,) if cut is None else (request[:cut], request[cut:])
    wire, bodies = received(*pieces)
    sent = b"".join(found for found in wire.done if found != "closed")
    assert (b"HTTP/1.1 431" in sent, bodies[-1:] == [b"1"]) == (bool(beyond), not beyond)


@pytest.mark.parametrize(
    "head",
    (
        b"Host: y\r\n",
        b"host: x\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    ),
)
def test_two_hosts_and_other_encodings_than_chunks_are_no_http(head: bytes) -> None:
    request = b"POST / HTTP/1.1\r\nhost: x\r\n%s\r\n1\r\na\r\n0\r\n\r\n" % head
    wire, bodies = received(request)
    assert bodies == []
    assert wire.done[0].startswith(b"HTTP/1.1 400")
    assert wire.done[-1] == "closed"


def test_http_1_1_names_its_host_and_1_0_need_not() -> None:
    rest = b"content-length: 1\r\n\r\n1"
    wire, bodies = received(b"POST / HTTP/1.1\r\n" + rest)
    assert bodies == []
    assert wire.done[0].startswith(b"HTTP/1.1 400")
    assert wire.done[-1] == "closed"
    assert received(b"POST / HTTP/1.0\r\n" + rest)[1] == [b"1"]
    assert received(b"POST / HTTP/1.1\r\nhost:\r\n" + rest)[1] == [b"1"], "a host may be empty"


def test_what_may_stand_twice_does() -> None:
    assert received(post(b"1", b"cookie: a\r\ncookie: b\r\n"))[1] == [b"1"]
    assert received(CHUNKED.replace(b"chunked", b"Chunked") + b"\r\n")[1] == [b"a"]
