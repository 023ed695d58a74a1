"""uvicorn with a drain that fails no request.

On SIGTERM, in this order:
  1. readiness turns false and every answer closes its connection (`on_drain`);
  2. for `delay_s` new connections are still taken, so that balancers can look away;
  3. then the listener takes no new ones (`stop_listening`), those already in its queue are accepted and answered;
  4. when the last connection is gone, or after `drain_s`, the process ends.
"""

import asyncio
import ctypes
import logging
import os
import resource
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from functools import partial
from types import FrameType
from typing import Any, Final

import uvicorn

from scoreline.settings import Server
from scoreline.web.asgi import ASGI
from scoreline.web.connections import GUESTS, Limits
from scoreline.web.corked import CorkedProtocol
from scoreline.web.handshake import Handshake
from scoreline.web.tls import LOOK_S, Certificate

QUEUE_S: Final = 0.3
REPEAT_S: Final = 1.0
LOOK_TICKS: Final = 2  # tenths of a second
OTHER_FILES: Final = 256  # of a process, beside its connections: the spool, bundles, connections to Redis
_SO_ATTACH_FILTER: Final = 26
_IP_MINTTL: Final = 21
_IPV6_MINHOPCOUNT: Final = 73
_MOST_HOPS: Final = 255
# Classic BPF over the TCP header: a segment with SYN set is dropped, any other passes.
_DROP_SYN: Final = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte of flags
        (0x45, 0, 1, 0x02),  # SYN set: the next instruction, else the one after
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # pass
    )
)
log = logging.getLogger("scoreline.server")


class DrainingServer(uvicorn.Server):
    """Serves an app on an open socket until it has drained; times in seconds."""

    def __init__(
        self,
        app: ASGI,
        *,
        limits: Limits,
        delay_s: float,
        drain_s: float,
        on_drain: Callable[[], None],
        tls: Certificate | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=partial(Handshake, tls) if tls else CorkedProtocol,  # type: ignore[arg-type]
            ws="none",
            loop="uvloop",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_graceful_shutdown=1,  # after the drain, which has had its time
            backlog=2048,
        )
        super().__init__(config)
        self.server_state.limits = limits  # type: ignore[attr-defined]
        self._delay_s = delay_s
        self._drain_s = drain_s
        self._on_drain = on_drain
        self._draining_since: float | None = None
        self._tls = tls
        self._looked_s = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The first signal begins the drain; one that comes a second later or more ends the process at once.

        Ctrl-C and systemd signal every process of a service: a worker hears of it twice, by itself and from its parent.
        """
        if self._draining_since is not None:
            if time.monotonic() - self._draining_since > REPEAT_S:
                self.should_exit = self.force_exit = True
            return
        self._draining_since = time.monotonic()
        self._on_drain()

    async def on_tick(self, counter: int) -> bool:
        if self._tls is not None and time.monotonic() - self._looked_s >= LOOK_S:
            self._looked_s = time.monotonic()
            self._tls.look()
        shared = getattr(self.server_state, "shared", None)
        if shared is not None and counter % LOOK_TICKS == 0:
            shared.look()
        if self._draining_since is not None:
            elapsed_s = time.monotonic() - self._draining_since
            if elapsed_s >= self._delay_s:
                self._hear_all()
            n_here = len(shared.connections) if shared is not None else 0
            empty = not n_here and elapsed_s >= self._delay_s + QUEUE_S
            self.should_exit = self.should_exit or empty or elapsed_s >= self._delay_s + self._drain_s
        return await super().on_tick(counter)

    def _hear_all(self) -> None:
        for protocol in self.server_state.connections:
            found = protocol.transport.get_extra_info("socket")
            if found is not None:
                hear_all(found.fileno())


def run(
    server: DrainingServer,
    listener: socket.socket,
    beside: Callable[[], Coroutine[Any, Any, None]],
    on_ready: Callable[[], None],
) -> None:
    """Serves on an open socket until drained, with one task beside it that is cancelled at the end."""

    async def serve() -> None:
        task = asyncio.create_task(beside())
        on_ready()
        await server.serve(sockets=[listener])
        task.cancel()

    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(serve())


def room_for(n_connections: int) -> int:
    """How many connections this process may have: as many, or what the system lets it have files for.

    Beyond its files libuv cuts whoever comes, health too. What is usual (1,024) may be raised by every process.
    """
    beside = GUESTS + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= n_connections + beside:
        return n_connections
    found = n_connections + beside if hard == resource.RLIM_INFINITY else min(n_connections + beside, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, found), hard))
    if found < n_connections + beside:
        log.warning("this process may have %d files, so it takes fewer than server.max_connections", found)
    return min(n_connections, max(1, found - beside))


def limits_of(server: Server) -> Limits:
    """What clients may do, by the settings and by what the system gives this process."""
    return Limits(
        n_connections=room_for(server.max_connections),
        n_per_peer=server.max_peer_connections,
        keep_alive_s=server.keep_alive_s,
        head_ms=server.head_ms,
        body_ms=server.body_ms,
        body_bytes_per_s=server.body_min_bytes,
        bodies_bytes=server.max_bodies_bytes,
        unread_ms=server.unread_ms,
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that children inherit; raises OSError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(2048)
    except OSError:
        found.close()
        raise
    found.setblocking(False)
    found.set_inheritable(True)
    return found


def stop_listening(listener: socket.socket) -> None:
    """Lets a listener take no new connection and keep those it has: a filter that drops what asks for one.

    Closing it instead would reset connections that wait in its queue, requests and all (socket(7), SO_ATTACH_FILTER).
    Only the first segment of a handshake is dropped: one that is half done completes, or its client, which counts
    itself connected already, would be reset. Linux of late lets no one have a filter without CAP_NET_ADMIN: there the
    listener hears only who is no router away (ip(7), IP_MINTTL), as whoever sends with the usual hops is not.
    """
    program = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    fprog = struct.pack("HxxxxxxQ", len(_DROP_SYN) // 8, ctypes.addressof(program))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
        return
    except OSError:
        log.debug("the listener cannot be filtered")
    try:
        _hear(listener, _MOST_HOPS)
    except OSError as error:  # not Linux: the queue may be reset when the last process closes it
        log.warning("the listener cannot be kept from taking connections while draining: %s", error.strerror)


def hear_all(fd: int) -> None:
    """Has a connection hear its client again: one whose handshake was half done has what its listener was told."""
    with suppress(OSError), closing(socket.socket(fileno=os.dup(fd))) as connection:
        _hear(connection, 0)


def _hear(found: socket.socket, least_hops: int) -> None:
    """Only segments that have so many hops left, or more; an address of version 6 may be one of 4, too."""
    if found.family == socket.AF_INET6:
        found.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, least_hops)
    found.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, least_hops)
