"""The data plane's app in this process: hot routes and pages, without sockets."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import httpx

from atonce import AtOnce
from scoreline.access.keyring import Keyring
from scoreline.core.budget import Budget
from scoreline.core.decision import Author, Decisions
from scoreline.core.errors import RecordRefused
from scoreline.core.scorer import Scorer
from scoreline.doors.http.door import Door
from scoreline.doors.http.served import serve_model
from scoreline.engines.load import load_engine
from scoreline.records.spool import recorded
from scoreline.web.asgi import ASGI
from service import SealedModel

PATIENT = Budget(total_ms=60_000)  # nothing is refused because the machine is busy


class Kept:
    """A sink in memory; `full` makes it refuse."""

    def __init__(self) -> None:
        self.decisions: list[Decisions] = []
        self.full = False

    def write(self, decisions: Decisions) -> None:
        if self.full:
            raise RecordRefused("the decision cannot be recorded: no space left on device", 5)
        self.decisions.append(decisions)

    def unsent(self, decisions: Decisions) -> None:
        raise AssertionError("nothing is lost without a connection")

    def failed(self, author: Author, base: int, time_ns: int, kind: str, entities: Sequence[bytes]) -> None:
        raise AssertionError("nothing fails without a canary")


def open_door(
    *models: SealedModel,
    default: str = "",
    keyring: Keyring | None = None,
    max_rows: int = 50,
    max_body_bytes: int = 10_000,
    sink: Kept | None = None,
) -> Door:
    door = Door(max_body_bytes, AtOnce())
    kept = sink or Kept()
    served = {}
    for model in models:
        bundle = model.bundle
        score = recorded(Scorer(bundle.manifest, load_engine(bundle)), kept)
        served[bundle.manifest.name] = serve_model(bundle.manifest, score, max_rows, budget=PATIENT)
    door.open(served, default or next(iter(served)) if len(served) == 1 else default, keyring or Keyring())
    return door


def ask(app: ASGI, method: str, path: str, content: bytes | Iterable[bytes] = b"", **headers: str) -> httpx.Response:
    """One request to an app; content in pieces is sent without a length."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in content:
            assert isinstance(piece, bytes)
            yield piece

    async def go() -> httpx.Response:
        sent: dict[str, Any] = {"content": content if isinstance(content, bytes) else pieces()}
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=named, **sent)

    return asyncio.run(go())
