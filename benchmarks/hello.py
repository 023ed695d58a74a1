"""The ceiling: the smallest ASGI app there is, for uvicorn. It reads nothing and answers a constant."""

from collections.abc import Awaitable, Callable
from typing import Any


async def app(_scope: Any, _receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})
