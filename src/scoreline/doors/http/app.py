"""The app of a worker: the few hot prediction routes as plain ASGI, every other route by FastAPI behind them."""

from functools import partial

from scoreline.core.errors import Overloaded, Pressed, ScorelineError, TooLate
from scoreline.core.strictjson import Body
from scoreline.doors.http.door import Door
from scoreline.doors.http.endpoint import Endpoint
from scoreline.web.asgi import ASGI, CLOSE, STAND, Answer, Receive, Scope, Send, linger, named, read_body, refusal
from scoreline.web.line import Place
from scoreline.web.problems import kind_of


class App:
    """The ASGI app: hot routes straight to the door, the rest to `pages`."""

    def __init__(self, door: Door, pages: ASGI) -> None:
        self.commit = door.turn.commit
        self._door = door
        self._pages = pages

    def waits(self, scope: Scope) -> bool:
        """Whether the body of a request, by its head alone, is worth waiting for; else it goes the way of ASGI."""
        endpoint = self._hot(scope)
        if endpoint is None:
            return False
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if self._door.asks(headers):
            return False
        try:
            self._door.enter(endpoint, scope, headers)
        except ScorelineError:
            return False
        return length.isdigit() and len(length) <= 20 and int(length) <= self._door.max_body_bytes

    def place(self, scope: Scope) -> Place | None:
        """Where a request stands in line; None: it does not, and begins."""
        endpoint = self._hot(scope)
        return None if endpoint is None else self._door.place(endpoint, scope)

    def late(self, scope: Scope) -> Answer:
        """To a prediction that can no longer be in time."""
        return self._refused(scope, TooLate("there are too many requests to answer this one in time: try again"))

    def crowded(self, scope: Scope) -> Answer:
        """To a prediction of a client for whom there is no place."""
        return self._refused(scope, Overloaded("as many clients as there are places for are here: try again"))

    def at_once(self, scope: Scope, body: Body) -> Answer | None:
        """The answer to a request that is wholly here, without a task for it; None: it goes the way of ASGI."""
        endpoint = self._hot(scope)
        if endpoint is None or endpoint.lookup is not None or len(body) > self._door.max_body_bytes:
            return None
        headers = dict(scope["headers"])
        if self._door.asks(headers):
            return None
        return self._closing(self._door.predict(endpoint, scope, body, headers))

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
            await self._door.ask(endpoint, scope, headers)
            admit = partial(self._door.enter, endpoint, scope)
            body = await read_body(headers, receive, self._door.max_body_bytes, admit)
        except ScorelineError as error:
            answer = self._door.refuse(endpoint, scope, error)
            answer[1].append(CLOSE)
            unread = True
        else:
            if body is None:
                return
            if await self._in_line(scope):
                answer = await self._door.answer(endpoint, scope, body)
            else:
                answer = self.late(scope)
        status, sent, content = self._closing(answer)
        await send({"type": "http.response.start", "status": status, "headers": sent})
        if unread:
            await send({"type": "http.response.body", "body": content, "more_body": True})
            await linger(receive)
            content = b""
        await send({"type": "http.response.body", "body": content})

    async def _in_line(self, scope: Scope) -> bool:
        """Waits until a request that came in pieces has its turn, if it has none yet; False: it is too late."""
        stand = scope.get(STAND)
        place = None if stand is None else self.place(scope)
        return stand is None or place is None or bool(await stand(place))

    def _hot(self, scope: Scope) -> Endpoint | None:
        return self._door.hot(scope["path"]) if scope["method"] == "POST" else None

    def _refused(self, scope: Scope, error: Pressed) -> Answer:
        endpoint, headers = self._hot(scope), dict(scope["headers"])
        if endpoint is None:  # its model left while it stood in line
            self._door.counts.add("refusals", "", kind_of(error))
            return self._closing(named(refusal(error), headers))
        return self._closing(self._door.refuse(endpoint, scope, error))

    def _closing(self, answer: Answer) -> Answer:
        if self._door.draining:
            answer[1].append(CLOSE)
        return answer
