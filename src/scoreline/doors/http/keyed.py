"""Requests with an `Idempotency-Key`: the same request again gets the answer that was given, and decides nothing new.

`access.answers` says in which order what is kept and recorded. Whoever keeps answers is asked in a thread of its own:
nobody else waits for it.
"""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from scoreline.access.answers import Answers, Kept
from scoreline.core.decision import Decisions
from scoreline.core.errors import IdempotencyDown, Malformed, RecordRefused
from scoreline.core.strictjson import Body
from scoreline.doors.http.endpoint import Asked, Taken
from scoreline.records.frames import frame_author, frame_decisions, read_frames
from scoreline.records.turn import Turn
from scoreline.web.asgi import Answer, Scope, named

HEADER: Final = b"idempotency-key"
REPLAYED: Final = (b"idempotency-replayed", b"true")
_KEY: Final = re.compile(rb"[!-~][ -~]{0,253}[!-~]|[!-~]")
# What beside the body makes an answer another one, and what of an answer is of the one request.
_ASKED: Final = (b"content-type", b"inference-header-content-length", b"x-quote")
_OF_ONE: Final = (b"x-request-id", b"server-timing", b"traceparent")
Ask = Callable[[], Awaitable[Asked]]
_Found = TypeVar("_Found")
log = logging.getLogger("scoreline.http")


class Predict(Protocol):
    """Scores one request: an `endpoint.Endpoint`."""

    model: str

    async def ask(self, headers: Mapping[bytes, bytes], body: Body, caller: str, taken: Taken, /) -> Asked: ...

    def answer(self, headers: Mapping[bytes, bytes], found: Asked, /) -> tuple[Answer, Decisions]: ...


class Keyed:
    """The keys of one worker. `secret` keeps digests of small requests from being guessed."""

    def __init__(self, answers: Answers, secret: bytes, turn: Turn) -> None:
        self._answers = answers
        self._turn = turn
        self._secret = secret
        self._thread = ThreadPoolExecutor(1, "answers")

    async def answer(self, endpoint: Predict, scope: Scope, body: Body, caller: str, taken: Taken) -> Answer:
        """The answer of this request, or of the one before with its key; raises ScorelineError."""
        headers = dict(scope["headers"])
        key = self._digest(caller, scope["path"], endpoint.model, given_key(scope))
        request = self._digest(*(headers.get(name, b"") for name in _ASKED), body)
        kept = await self._ask(self._answers.claim, key, request)
        if kept is None:
            return await self._first(
                partial(endpoint.ask, headers, body, caller, taken), endpoint, headers, key, request
            )
        if kept.frames:
            await self._record_again(key, kept.frames)
        return _again(kept.answer, headers)

    async def _first(
        self, ask: Ask, endpoint: Predict, headers: Mapping[bytes, bytes], key: bytes, request: bytes
    ) -> Answer:
        try:
            asked = await ask()
            with self._turn.aside() as made:
                answer, _ = endpoint.answer(headers, asked)
            await self._ask(self._answers.prepare, key, request, Kept(_written(answer), _frames(made)))
            self._record(made)
        except BaseException:
            with suppress(IdempotencyDown):  # then it is kept and not recorded: a retry records it
                await self._ask(self._answers.drop, key)
            raise
        await self._done(key)
        return answer

    async def _record_again(self, key: bytes, frames: bytes) -> None:
        """Whoever kept them died before it could say that they are recorded: once more, under the same ids."""
        try:
            self._record([found for found, _ in read_frames(frames, {}) if isinstance(found, Decisions)])
        except RecordRefused:
            await self._ask(self._answers.leave, key)
            raise
        await self._done(key)

    def _record(self, requests: list[Decisions]) -> None:
        refusals: list[RecordRefused] = []
        for decisions in requests:
            self._turn.write(decisions)
        self._turn.tell(refusals.append)
        self._turn.commit()
        if refusals:
            raise refusals[0]

    async def _done(self, key: bytes) -> None:
        """Where that cannot be said, frames stay: a retry records them once more, which changes nothing."""
        try:
            await self._ask(self._answers.done, key)
        except IdempotencyDown as error:
            log.warning("an answer is given and not marked as recorded: %s", error)

    async def _ask(self, ask: Callable[..., _Found], *arguments: Any) -> _Found:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(ask, *arguments))

    def _digest(self, *parts: str | Body) -> bytes:
        """32 bytes of some parts, each with its length."""
        found = hashlib.blake2b(digest_size=32, key=self._secret)
        for part in parts:
            raw = part.encode() if isinstance(part, str) else part
            found.update(b"%d:" % len(raw))
            found.update(raw)
        return found.digest()


def given_key(scope: Scope) -> bytes:
    """The key of a request; raises Malformed where it is none, or there are several."""
    given = [value for name, value in scope["headers"] if name == HEADER]
    if len(given) != 1 or not _KEY.fullmatch(given[0]):
        raise Malformed("Idempotency-Key is one header of 1 to 255 printable ASCII characters")
    return bytes(given[0])


def _frames(requests: list[Decisions]) -> bytes:
    return b"".join(bytes(frame_author(at, one.author) + frame_decisions(at, one)) for at, one in enumerate(requests))


def _written(answer: Answer) -> bytes:
    """An answer as it is kept: its headers as JSON, a line end, its body as it is."""
    _, headers, body = answer
    told = [(name.decode(), value.decode("latin-1")) for name, value in headers if name not in _OF_ONE]
    return json.dumps(told).encode() + b"\n" + body


def _again(raw: bytes, headers: Mapping[bytes, bytes]) -> Answer:
    told, _, body = raw.partition(b"\n")
    sent = [(name.encode(), value.encode("latin-1")) for name, value in json.loads(told)]
    sent.append(REPLAYED)
    if b"traceparent" in headers:
        sent.append((b"traceparent", headers[b"traceparent"]))
    return named((200, sent, body), headers)
