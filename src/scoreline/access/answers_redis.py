"""Answers under idempotency keys in Redis, which hosts share.

A value is a letter, the digest of the request, and what is kept: `C` a claim with a word of whose it is, `P` an answer
with frames that wait to be recorded, `D` an answer that is.
"""

import os
import struct
from typing import Any, Final

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from scoreline.access.answers import KEEP_S, Kept
from scoreline.access.breaker import Breaker
from scoreline.core.errors import IdempotencyBusy, IdempotencyDown, IdempotencyMismatch

PREFIX: Final = b"scoreline:answer:"
CLAIM_MS: Final = 30_000  # of one who dies before an answer is kept; scoring takes milliseconds
RECORD_MS: Final = 1000  # of one who dies before its decisions are recorded, which is one write
_BUSY: Final = "a request with this Idempotency-Key is being answered: ask again for it"
_CLAIM: Final = b"C"
_PREPARED: Final = b"P"
_DONE: Final = b"D"
_DIGEST: Final = 32
_LENGTH: Final = struct.Struct("<I")
_IF_MINE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
return 1
"""


class RedisAnswers:
    """A `answers.Answers` in Redis, which may take `budget_ms` for an answer."""

    def __init__(self, url: str, budget_ms: int) -> None:
        self._client: Any = Redis.from_url(
            url, socket_timeout=budget_ms / 1e3, socket_connect_timeout=budget_ms / 1e3, retry=Retry(NoBackoff(), 0)
        )
        self._if_mine = self._client.register_script(_IF_MINE)
        self._breaker = Breaker()
        self._mine: dict[bytes, bytes] = {}

    def claim(self, key: bytes, request: bytes) -> Kept | None:
        if key in self._mine:
            raise IdempotencyBusy(_BUSY)
        claim = _CLAIM + request + os.urandom(16)
        found = self._ask(self._client.set, PREFIX + key, claim, px=CLAIM_MS, nx=True, get=True)
        if found is None:
            self._mine[key] = claim
            return None
        state, of, rest = found[:1], found[1 : 1 + _DIGEST], found[1 + _DIGEST :]
        if of != request:
            raise IdempotencyMismatch("this Idempotency-Key was used for another request: use a new one")
        if state == _CLAIM or (state == _PREPARED and not self._is_left(key)):
            raise IdempotencyBusy(_BUSY)
        (n_frames,) = _LENGTH.unpack_from(rest)
        at = _LENGTH.size + n_frames
        if state == _PREPARED:
            self._mine[key] = found
            self._replace(key, found)  # which makes it young again: others wait
        return Kept(rest[at:], rest[_LENGTH.size : at])

    def prepare(self, key: bytes, request: bytes, kept: Kept) -> None:
        value = _PREPARED + request + _LENGTH.pack(len(kept.frames)) + kept.frames + kept.answer
        if not self._replace(key, value):
            raise IdempotencyBusy("this Idempotency-Key is another request's by now: ask again for it")
        self._mine[key] = value

    def done(self, key: bytes) -> None:
        mine = self._mine[key]
        at = 1 + _DIGEST
        (n_frames,) = _LENGTH.unpack_from(mine, at)
        try:
            self._replace(key, _DONE + mine[1:at] + _LENGTH.pack(0) + mine[at + _LENGTH.size + n_frames :])
        finally:
            self.leave(key)

    def drop(self, key: bytes) -> None:
        try:
            self._replace(key, b"")
        finally:
            self.leave(key)

    def leave(self, key: bytes) -> None:
        self._mine.pop(key, None)

    def _is_left(self, key: bytes) -> bool:
        """Whether an answer waits for its frames to be recorded for so long that who should have is dead."""
        left_ms: int = self._ask(self._client.pttl, PREFIX + key)
        return left_ms < KEEP_S * 1000 - RECORD_MS

    def _replace(self, key: bytes, value: bytes) -> bool:
        """Whether the key still had what this request put there."""
        return bool(self._ask(self._if_mine, [PREFIX + key], [self._mine[key], value, KEEP_S]))

    def _ask(self, command: Any, *arguments: Any, **options: Any) -> Any:
        if not self._breaker.allows():
            raise IdempotencyDown("idempotency keys cannot be kept now: Redis does not answer")
        try:
            found = command(*arguments, **options)
        except (RedisError, OSError) as error:
            self._breaker.failed()
            raise IdempotencyDown(f"idempotency keys cannot be kept now: {type(error).__name__} of Redis") from None
        self._breaker.worked()
        return found
