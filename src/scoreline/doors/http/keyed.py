"""Requests with an `Idempotency-Key`: the same request again gets the answer that was given, and decides nothing new.

`access.answers` says in which order what is kept and recorded. Whoever keeps answers is asked in a thread of its own:
nobody else waits for it, and a request not beyond its deadline.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol

from scoreline.access.answers import Answers, Kept
from scoreline.core.decision import Decisions
from scoreline.core.errors import Malformed, RecordRefused
from scoreline.core.strictjson import Body
from scoreline.doors.http.asking import BEGIN, KEEP, Asking
from scoreline.doors.http.endpoint import Asked, Taken, at_last
from scoreline.records.frames import frame_author, frame_decisions, read_frames
from scoreline.records.turn import Turn
from scoreline.web.asgi import Answer, Scope, named

HEADER: Final = b"idempotency-key"
REPLAYED: Final = (b"idempotency-replayed", b"true")
_KEY: Final = re.compile(rb"[!-~][ -~]{0,253}[!-~]|[!-~]")
# What beside the body makes an answer another one, and what of an answer is of the one request.
_ASKED: Final = (b"content-type", b"inference-header-content-length", b"x-quote")
_OF_ONE: Final = (b"x-request-id", b"server-timing", b"traceparent")


class Predict(Protocol):
    """Scores one request: an `endpoint.Endpoint`."""

    model: str

    def until_ns(self, headers: Mapping[bytes, bytes], taken: Taken, /) -> int: ...

    async def ask(self, headers: Mapping[bytes, bytes], body: Body, caller: str, taken: Taken, /) -> Asked: ...

    def answer(self, headers: Mapping[bytes, bytes], found: Asked, /) -> tuple[Answer, Decisions]: ...


class Keyed:
    """The keys of one worker. `secret` keeps digests of small requests from being guessed."""

    def __init__(self, answers: Answers, secret: bytes, turn: Turn) -> None:
        self._answers = answers
        self._turn = turn
        self._secret = secret
        self._asking = Asking()

    async def answer(self, endpoint: Predict, scope: Scope, body: Body, caller: str, taken: Taken) -> Answer:
        """The answer of this request, or of the one before with its key; raises ScorelineError."""
        headers = dict(scope["headers"])
        key = self._digest(caller, scope["path"], endpoint.model, given_key(scope))
        until_ns = endpoint.until_ns(headers, taken)
        self._asking.check(until_ns)
        request = self._digest(*(headers.get(name, b"") for name in _ASKED), body)
        claim = partial(self._answers.claim, key, request)
        kept = await self._asking.by(until_ns, BEGIN, claim, partial(self._let_go, key))
        if kept is not None:
            if kept.frames:
                self._record_again(key, kept.frames)
            return _again(kept.answer, headers)
        try:
            asked = await endpoint.ask(headers, body, caller, taken)
            with self._turn.aside() as made:
                answer, decisions = endpoint.answer(headers, asked)
            prepare = partial(self._answers.prepare, key, request, Kept(_written(answer), _frames(made)))
            await self._asking.by(until_ns, KEEP, prepare)
            answer = at_last(answer, decisions, taken)
            self._record(made)
        except BaseException:
            self._asking.later(partial(self._answers.drop, key))
            raise
        self._asking.later(partial(self._answers.done, key))
        return answer

    def close(self) -> None:
        """Waits until what was answered is known to be recorded where answers are kept."""
        self._asking.close()

    def _let_go(self, key: bytes, kept: Kept | None) -> None:
        """Of a claim that came too late: the key is as free as it was."""
        if kept is None:
            self._answers.drop(key)
        elif kept.frames:
            self._answers.leave(key)

    def _record_again(self, key: bytes, frames: bytes) -> None:
        """Whoever kept them died before it could say that they are recorded: once more, under the same ids."""
        try:
            self._record([found for found, _ in read_frames(frames, {}) if isinstance(found, Decisions)])
        except BaseException:
            self._asking.later(partial(self._answers.leave, key))
            raise
        self._asking.later(partial(self._answers.done, key))

    def _record(self, requests: list[Decisions]) -> None:
        refusals: list[RecordRefused] = []
        for decisions in requests:
            self._turn.write(decisions)
        self._turn.tell(refusals.append)
        self._turn.commit()
        if refusals:
            raise refusals[0]

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
