"""The door of a worker: which models it answers for, who may ask, and the way of one prediction through all of that."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from scoreline.access.caller import Caller
from scoreline.access.guesses import Guesses
from scoreline.access.hosts import check_host
from scoreline.access.keyring import Keyring, offered_key
from scoreline.core.about import about
from scoreline.core.counts import Counts
from scoreline.core.decision import Decisions
from scoreline.core.errors import Denied, NotFound, Pressed, RecordRefused, ScorelineError, WrongType
from scoreline.core.strictjson import Body
from scoreline.doors.http.endpoint import Endpoint
from scoreline.doors.http.keyed import HEADER as KEY
from scoreline.doors.http.keyed import REPLAYED, Keyed
from scoreline.doors.http.limiting import Limiting
from scoreline.doors.http.served import Served
from scoreline.web.asgi import ARRIVED, EXPECT, Answer, Scope, id_of, log
from scoreline.web.line import PRIORITIES, Place
from scoreline.web.problems import kind_of


class Turn(Protocol):
    """Where decisions wait to be recorded before their answers leave: a `records.turn.Turn`."""

    def tell(self, refused: Callable[[RecordRefused], None], /) -> None: ...

    def commit(self) -> None: ...

    def unsent(self, decisions: Decisions, /) -> None: ...


class Door:
    """Models and endpoints by path, replaced as a whole when a version changes; who may use them; whether open.

    What is decided waits in `turn` and is committed before any answer leaves. `limiting` counts requests, where there
    are limits, and `guesses` who is not let into pages; `keyed` answers those with an idempotency key. `pressed` counts
    by model what was refused because there was no time or room for it, `counts` all that was refused, and answered
    again.
    """

    def __init__(
        self,
        max_body_bytes: int,
        turn: Turn,
        limiting: Limiting | None = None,
        keyed: Keyed | None = None,
        counts: Counts | None = None,
        guesses: Guesses | None = None,
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self.turn = turn
        self.limiting = limiting
        self.keyed = keyed
        self.guesses = guesses
        self.models: Mapping[str, Served] = {}
        self.default = ""
        self.keyring = Keyring()
        self.draining = False
        self.pressed: Counter[str] = Counter()
        self.counts = counts or Counts()
        self.recording = True
        self._hot: Mapping[str, Endpoint] = {}

    def open(self, models: Mapping[str, Served], default: str, keyring: Keyring) -> None:
        """Puts new models in place by one assignment; a request under way keeps the endpoint it has."""
        hot = {path: endpoint for model in models.values() for path, endpoint in model.named.items()}
        if default:
            hot |= models[default].unnamed
        self.models, self.default, self.keyring = models, default, keyring
        self._hot = hot

    @property
    def ready(self) -> bool:
        return bool(self.models) and self.recording and not self.draining

    def hot(self, path: str) -> Endpoint | None:
        return self._hot.get(path)

    def models_for(self, caller: Caller) -> Mapping[str, Served]:
        """The models a caller may know of."""
        return {name: model for name, model in self.models.items() if caller.may_use(name)}

    def model(self, name: str = "", version: str = "") -> Served:
        """A model by its name, or the default one; raises NotFound with where to look instead."""
        if not name and not self.default:
            raise NotFound("several models are served and none is the default: use /models/{name}/predict")
        found = self.models.get(name or self.default)
        if found is not None and version and version not in found.by_number:
            raise NotFound("this version of the model is not served here; GET /models lists those that are")
        if found is None:
            raise NotFound("no such model is served here; GET /models lists those that are")
        return found

    def admit(self, endpoint: Endpoint, headers: Mapping[bytes, bytes]) -> Caller:
        """The caller, by the headers alone; raises Denied, Unauthenticated, Malformed or WrongType."""
        keyring = self.keyring
        check_host(keyring, headers)
        caller = keyring.admit("predict", offered_key(headers), endpoint.model)
        endpoint.dialect.check_type(headers)
        if headers.get(b"content-encoding", b"identity").lower() not in (b"identity", b""):
            raise WrongType("send the body as it is, without Content-Encoding")
        return caller

    def enter(self, endpoint: Endpoint, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """The caller, admitted and within the limits; raises as `admit`, and RateLimited.

        Who is not admitted counts for the address.
        """
        limiting = self.limiting
        if limiting is None:
            return self.admit(endpoint, headers).name
        try:
            caller = self.admit(endpoint, headers).name
        except Denied:
            limiting.count(scope, None, endpoint.model)
            raise
        limiting.count(scope, caller, endpoint.model)
        return caller

    async def ask(self, endpoint: Endpoint, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Has a request counted where hosts count together, before it enters; raises as `enter`."""
        if self.limiting is not None and self.limiting.elsewhere is not None:
            try:
                caller = self.admit(endpoint, headers).name
            except Denied:
                await self.limiting.count_elsewhere(scope, None, endpoint.model)
                raise
            await self.limiting.count_elsewhere(scope, caller, endpoint.model)

    def asks(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether somebody outside of this process has a say in a request: then it is not answered at once."""
        if self.keyed is not None and KEY in headers:
            return True
        return self.limiting is not None and self.limiting.elsewhere is not None

    def refuse(self, endpoint: Endpoint, scope: Scope, error: Exception) -> Answer:
        """A refusal in the words of the dialect, under the request's id.

        What is no error of ours is logged, and nothing of it told.
        """
        answer_id = id_of(dict(scope["headers"]))
        if isinstance(error, Pressed):  # of those there are thousands a second, and none is logged
            self.pressed[endpoint.model] += 1
            answer = endpoint.dialect.refuse(error)
        else:
            with about(request_id=answer_id, model=endpoint.model):
                if not isinstance(error, ScorelineError):
                    log.error("a prediction failed", exc_info=error)
                    error = ScorelineError("Scoreline failed")
                answer = endpoint.dialect.refuse(error)
        self.counts.add("refusals", endpoint.model, kind_of(error))
        answer[1].append((b"x-request-id", answer_id.encode()))
        return self.told(scope, answer)

    def told(self, scope: Scope, answer: Answer) -> Answer:
        """The answer, with what it says of the limits."""
        if self.limiting is not None:
            answer[1].extend(self.limiting.told(scope))
        return answer

    def predict(
        self,
        endpoint: Endpoint,
        scope: Scope,
        body: Body,
        headers: Mapping[bytes, bytes] | None = None,
        *,
        now: bool = False,
    ) -> Answer:
        """The answer to one prediction request, errors included: it never raises.

        `now`: its decisions are recorded on return. Else they wait, and a refusal may still replace the answer.
        """
        taken_ns = time.perf_counter_ns()
        given = dict(scope["headers"]) if headers is None else headers
        taken = scope.get(ARRIVED, taken_ns), taken_ns, scope.get("client")
        return self._answered(
            endpoint,
            scope,
            lambda: endpoint.predict(given, body, self.enter(endpoint, scope, given), taken),
            now=now,
        )

    async def answer(self, endpoint: Endpoint, scope: Scope, body: Body) -> Answer:
        """The same for what others have a say in: its features, or its idempotency key. It is recorded on return."""
        taken_ns = time.perf_counter_ns()
        headers = dict(scope["headers"])
        taken = scope.get(ARRIVED, taken_ns), taken_ns, scope.get("client")
        keyed = self.keyed if KEY in headers else None
        if keyed is None and endpoint.lookup is None:
            return self.predict(endpoint, scope, body, headers, now=True)
        try:
            caller = self.enter(endpoint, scope, headers)
            if keyed is not None:
                answer = await keyed.answer(endpoint, scope, body, caller, taken)
                if REPLAYED in answer[1]:
                    self.counts.add("repeated", endpoint.model)
                return self.told(scope, answer)
            asked = await endpoint.ask(headers, body, caller, taken)
        except Exception as error:
            return self.refuse(endpoint, scope, error)
        return self._answered(endpoint, scope, lambda: endpoint.answer(headers, asked), now=True)

    def _answered(
        self, endpoint: Endpoint, scope: Scope, decide: Callable[[], tuple[Answer, Decisions]], *, now: bool
    ) -> Answer:
        try:
            answer, decisions = decide()
        except Exception as error:
            return self.refuse(endpoint, scope, error)
        self.told(scope, answer)
        if now:
            refusals: list[RecordRefused] = []
            self.turn.tell(refusals.append)
            self.turn.commit()
            if refusals:
                return self.refuse(endpoint, scope, refusals[0])
        expect = scope.get(EXPECT)
        if expect is not None:
            replace = expect(partial(self.turn.unsent, decisions))
            if not now:
                self.turn.tell(lambda error: replace(self.refuse(endpoint, scope, error)))
        return answer

    def place(self, endpoint: Endpoint, scope: Scope) -> Place | None:
        """Where a request stands in line; None: it is refused, whenever."""
        headers, now_ns = dict(scope["headers"]), time.perf_counter_ns()
        try:
            caller = self.admit(endpoint, headers)
            until_ns = endpoint.deadlines.until_ns(headers, scope.get(ARRIVED, now_ns), scope.get("client"))
        except ScorelineError:
            return None
        return Place(PRIORITIES.index(caller.priority), endpoint.deadlines.latest_ns(until_ns, now_ns))
