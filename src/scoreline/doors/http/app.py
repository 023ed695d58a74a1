"""The app of a worker: the few hot prediction routes as plain ASGI, every other route by FastAPI behind them."""

import re
import time
from collections.abc import Mapping
from typing import Final

from scoreline.access.keyring import Keyring, check_host, offered_key
from scoreline.core import ids
from scoreline.core.batch import Context
from scoreline.core.errors import NotFound, ScorelineError, WrongType
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Score
from scoreline.core.strictjson import Body
from scoreline.doors.http.answer import AnswerWriter
from scoreline.doors.http.decode import RowReader
from scoreline.web.asgi import (
    ASGI,
    CLOSE,
    Answer,
    Receive,
    Scope,
    Send,
    given_id,
    linger,
    log,
    named,
    problem,
    read_body,
    refusal,
)

_JSON: Final = b"application/json"
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_SAME_SITE: Final = (b"same-origin", b"none")


class Endpoint:
    """One model behind the prediction routes: reader, scorer, writer."""

    def __init__(self, manifest: Manifest, score: Score, max_rows: int) -> None:
        self.manifest = manifest
        self._score = score
        self._reader = RowReader(manifest.schema, max_rows)
        self._writer: AnswerWriter | None = None

    def predict(self, headers: Mapping[bytes, bytes], body: Body, caller: str) -> Answer:
        """Decode, score (and record), encode; raises InputError, EngineFailed or RecordRefused."""
        start_ns = time.perf_counter_ns()
        request_id = given_id(headers)
        context = Context(time.time_ns(), request_id, caller, _trace(headers))
        batch, many = self._reader.read(body, context)
        decisions = self._score(batch)
        writer = self._writer
        if writer is None:
            writer = self._writer = AnswerWriter(decisions.author, self.manifest.schema.store_fields)
        answer = writer.many(decisions) if many else writer.one(decisions)
        answer_id = request_id or ids.text(decisions.base)
        total_ns = time.perf_counter_ns() - start_ns
        sent = [
            (b"content-type", _JSON),
            (b"content-length", b"%d" % len(answer)),
            (b"x-request-id", answer_id.encode()),
            (b"server-timing", b"model;dur=%.3f, total;dur=%.3f" % (decisions.model_ns / 1e6, total_ns / 1e6)),
        ]
        if context.trace:
            sent.append((b"traceparent", headers[b"traceparent"]))
        return 200, sent, answer


class Door:
    """All endpoints by route, replaced as a whole when a version changes; who may use them; whether it is open."""

    def __init__(self, max_body_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self.endpoints: Mapping[str, Endpoint] = {}
        self.default = ""
        self.keyring = Keyring()
        self.draining = False
        self._hot: Mapping[str, Endpoint] = {}

    def open(self, endpoints: Mapping[str, Endpoint], default: str, keyring: Keyring) -> None:
        """Puts new endpoints in place by one assignment; a request under way keeps the one it has."""
        hot = {f"/models/{name}/predict": endpoint for name, endpoint in endpoints.items()}
        if default:
            hot["/predict"] = endpoints[default]
        self.endpoints, self.default, self.keyring = endpoints, default, keyring
        self._hot = hot

    @property
    def ready(self) -> bool:
        return bool(self.endpoints) and not self.draining

    def hot(self, path: str) -> Endpoint | None:
        return self._hot.get(path)

    def endpoint(self, name: str = "") -> Endpoint:
        """The endpoint of a model, or the default one; raises NotFound with where to look instead."""
        if not name and not self.default:
            raise NotFound("several models are served and none is the default: use /models/{name}/predict")
        found = self.endpoints.get(name or self.default)
        if found is None:
            raise NotFound("no such model is served here; GET /models lists those that are")
        return found

    def admit(self, headers: Mapping[bytes, bytes]) -> str:
        """The caller, by the headers alone; raises Denied, Unauthenticated or WrongType."""
        check_host(self.keyring, headers)
        caller = self.keyring.admit("predict", offered_key(headers))
        check_content_type(headers)
        return caller

    def predict(self, endpoint: Endpoint, headers: Mapping[bytes, bytes], body: Body) -> Answer:
        """The answer to one prediction request, errors included: it never raises."""
        try:
            return endpoint.predict(headers, body, self.admit(headers))
        except ScorelineError as error:
            return named(refusal(error), headers)
        except Exception:
            log.exception("a prediction failed")
            return named(problem(500, "Scoreline failed", "Scoreline failed"), headers)


class App:
    """The ASGI app: hot routes straight to the door, the rest to `pages`."""

    def __init__(self, door: Door, pages: ASGI) -> None:
        self._door = door
        self._pages = pages

    def waits(self, scope: Scope) -> bool:
        """Whether the body of a request, by its head alone, is worth waiting for; else it goes the way of ASGI."""
        if not self._hot(scope):
            return False
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        try:
            self._door.admit(headers)
        except ScorelineError:
            return False
        return length.isdigit() and len(length) <= 20 and int(length) <= self._door.max_body_bytes

    def at_once(self, scope: Scope, body: Body) -> Answer | None:
        """The answer to a request that is wholly here, without a task for it; None: it goes the way of ASGI."""
        endpoint = self._hot(scope)
        if endpoint is None or len(body) > self._door.max_body_bytes:
            return None
        return self._closing(self._door.predict(endpoint, dict(scope["headers"]), body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        endpoint = self._hot(scope)
        if endpoint is None:
            await self._pages(scope, receive, send)
            return
        headers = dict(scope["headers"])
        unread = False
        try:
            body = await read_body(headers, receive, self._door.max_body_bytes, self._door.admit)
        except ScorelineError as error:
            answer = named(refusal(error, close=True), headers)
            unread = True
        else:
            if body is None:
                return
            answer = self._door.predict(endpoint, headers, body)
        status, sent, content = self._closing(answer)
        await send({"type": "http.response.start", "status": status, "headers": sent})
        if unread:
            await send({"type": "http.response.body", "body": content, "more_body": True})
            await linger(receive)
            content = b""
        await send({"type": "http.response.body", "body": content})

    def _hot(self, scope: Scope) -> Endpoint | None:
        return self._door.hot(scope["path"]) if scope["method"] == "POST" else None

    def _closing(self, answer: Answer) -> Answer:
        if self._door.draining:
            answer[1].append(CLOSE)
        return answer


def check_content_type(headers: Mapping[bytes, bytes]) -> None:
    """JSON types pass; `curl -d`'s form type and none pass too, but not from another site's page. Raises WrongType."""
    kind = headers.get(b"content-type", b"")
    if kind == _JSON:
        return
    kind = kind.split(b";")[0].strip().lower()
    if kind == _JSON or (kind.startswith(b"application/") and kind.endswith(b"+json")):
        return
    if kind not in (b"", b"application/x-www-form-urlencoded"):
        raise WrongType("send the row as application/json")
    origin = headers.get(b"origin")
    from_page = origin is not None and origin.split(b"://")[-1] != headers.get(b"host")
    if from_page or headers.get(b"sec-fetch-site", b"none") not in _SAME_SITE:
        raise WrongType("a web page of another site must send application/json")


def _trace(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"traceparent")
    match = _TRACEPARENT.fullmatch(given) if given else None
    return match[1].decode() if match else ""
