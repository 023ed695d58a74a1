"""The control plane's routes on rollouts: how a model stands, what people may do about it, and the verdict for others.

They are what `scoreline rollout` does, by whoever the key names.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import Path as InPath
from fastapi import Query, Request
from starlette.concurrency import run_in_threadpool

from scoreline.core.errors import Malformed, NotFound, RolloutRefused
from scoreline.core.manifest import NAME
from scoreline.core.strictjson import strict_json
from scoreline.operations import outlook
from scoreline.operations.desk import Desk
from scoreline.operations.rollouts import By
from scoreline.records.ledger import Entry
from scoreline.rollout.verdict import ADVANCE, HOLD, ROLL_BACK
from scoreline.web.asgi import read_body
from scoreline.web.routes import Routes

TAGS: Final = ["rollouts"]
LOOK_REFUSALS: Final = (404, 409, 422, 503)
ACT_REFUSALS: Final = (400, 404, 409, 413, 422, 503)
MAX_TEXT: Final = 1000
MOST: Final = 1000
_WORDS: Final = {
    "ref": "models:/NAME/VERSION, folder:/NAME/VERSION, or a path on this host.",
    "version": "A version in shadow.",
    "champion": "The champion to take back; the one before answers again.",
    "force": "Why it may pass over the gate of shadow.",
    "why": "Why, for the record.",
}
Given = Mapping[str, str]
Act = Callable[[str, Given, By], Entry]
MoversOf = Callable[[str, str], Mapping[str, Any]]
Name = Annotated[str, InPath(alias="name", description="Name of the model.")]
SeenAt = Annotated[
    int,
    Query(description="The entry that was seen: refused if anything was done since. 0: whichever is last.", ge=0),
]
Limit = Annotated[int, Query(description="The newest so many entries.", ge=1, le=MOST)]
InShadow = Annotated[str, Query(alias="version", description="The version in shadow, if there are several.")]
Of = Annotated[str, Query(alias="version", description="On this version; else on the canary.")]
Passes = Annotated[
    str, Query(alias="pass", description=f"Verdicts answered with 200: of {ADVANCE}, {HOLD}, {ROLL_BACK}.")
]


def add_rollouts(routes: Routes, desk: Desk, movers_of: MoversOf, max_body_bytes: int) -> None:
    """Routes that look are plain functions, because they wait for the database; those that act read a body first."""

    apart = threading.BoundedSemaphore(1)

    def status(name: Name) -> Any:
        """Champion, canary and challengers, and the verdict with its e-values, ratio and units still needed."""
        return outlook.status(desk, _prepared(desk, name))

    def plan(name: Name) -> Any:
        """How long a rollout would take at the traffic of late."""
        return outlook.planned(desk, _prepared(desk, name))

    def history(name: Name, limit: Limit = 50) -> Any:
        """Who did what when, why, and on what e-values; the newest first."""
        return {"model": name, "entries": outlook.told_history(desk, _prepared(desk, name), limit)}

    def movers(name: Name, version: InShadow = "") -> Any:
        """The decisions that a version in shadow moves furthest, and the fields that move them."""
        with apart:
            return movers_of(_prepared(desk, name), version)

    for place, look in (("", status), ("/plan", plan), ("/history", history), ("/movers", movers)):
        routes.add("GET", f"/rollouts/{{name}}{place}", look, refusals=LOOK_REFUSALS, tags=TAGS)
    _add_verdict(routes, desk, max_body_bytes)
    for verb, (act, required, optional, says) in acts(desk).items():
        routes.add(
            "POST",
            f"/rollouts/{{name}}/{verb}",
            _acting(act, desk, required, optional, max_body_bytes),
            refusals=ACT_REFUSALS,
            tags=TAGS,
            name=verb,
            description=says,
            openapi_extra={"requestBody": _described(required, optional)},
        )


def _add_verdict(routes: Routes, desk: Desk, max_body_bytes: int) -> None:
    def verdict(name: Name, version: Of = "") -> Any:
        """ADVANCE, HOLD or ROLL_BACK, and why: for Argo Rollouts' provider `web`."""
        return outlook.verdict_on(desk, _prepared(desk, name), version)

    async def webhook(request: Request, name: Name, version: Of = "", passes: Passes = ADVANCE) -> Any:
        """The same for Flagger's webhooks: 200 where the verdict is among `pass`, else 409, which halts."""
        wanted = list(_verdicts(passes))
        await _given(request, max_body_bytes, None)
        found = await run_in_threadpool(lambda: outlook.verdict_on(desk, _prepared(desk, name), version))
        if found["verdict"] not in wanted:
            raise RolloutRefused(f"{found['verdict']}: {found['why']}")
        return found

    routes.add("GET", "/rollouts/{name}/verdict", verdict, refusals=LOOK_REFUSALS, tags=TAGS)
    routes.add("POST", "/rollouts/{name}/verdict", webhook, refusals=ACT_REFUSALS, tags=TAGS)


def _prepared(desk: Desk, name: str) -> str:
    """The name of a model, once the database may be asked; raises NotFound where no model can have it."""
    if not NAME.fullmatch(name):
        raise NotFound("no model has such a name")
    desk.database.prepare_once()
    return name


def acts(desk: Desk) -> Mapping[str, tuple[Act, Sequence[str], Sequence[str], str]]:
    """Every action by its verb: what it does, which texts its body must and may have, and what it says of itself."""

    def canary(name: str, given: Given, by: By) -> Entry:
        if ("ref" in given) == ("version" in given):
            raise Malformed("say which version: `version` of one in shadow, or `ref`")
        if "version" in given:
            desk.challenger(name, given["version"])
        return desk.canary(name, given.get("version") or given["ref"], by, given.get("force", ""))

    def promote(name: str, given: Given, by: By) -> Entry:
        return desk.promote(name, by, given.get("version", ""), given.get("force", ""))

    def rollback(name: str, given: Given, by: By) -> Entry:
        champion = given.get("champion", "")
        return desk.take_back(name, champion, by) if champion else desk.roll_back(name, by)

    def plainly(act: Callable[[str, By], Entry]) -> Act:
        return lambda name, _, by: act(name, by)

    return {
        "shadow": (lambda name, given, by: desk.shadow(name, given["ref"], by), ("ref",), (), "Starts a shadow."),
        "end-shadow": (
            lambda name, given, by: desk.end_shadow(name, given["version"], by),
            ("version",),
            (),
            "Ends the shadow of a version.",
        ),
        "canary": (canary, (), ("version", "ref", "force"), "Lets a version that passes the gates answer a share."),
        "promote": (promote, (), ("version", "force"), "Makes the canary, or a version in shadow, the champion."),
        "advance": (plainly(desk.advance), (), (), "Takes the canary a step further, whatever the evidence."),
        "rollback": (rollback, (), ("champion",), "Ends the canary; or, by its version, the champion."),
        "pause": (plainly(desk.pause), (), (), "Keeps the canary at its share; harm still rolls it back."),
        "resume": (plainly(desk.resume), (), (), "Lets a canary go on that is paused or held."),
        "approve": (plainly(desk.approve), (), (), "Approves the rollout; not for who sealed the version."),
    }


def _acting(
    act: Act, desk: Desk, required: Sequence[str], optional: Sequence[str], max_body_bytes: int
) -> Callable[..., Any]:
    async def acting(request: Request, name: Name, seq: SeenAt = 0) -> Any:
        given = await _given(request, max_body_bytes, (*required, *optional, "why"))
        missing = [word for word in required if word not in given]
        if missing:
            raise Malformed(f"the body lacks {', '.join(missing)}")
        by = By(request.state.caller.name, given.get("why", ""), seq)
        entry = await run_in_threadpool(lambda: act(_prepared(desk, name), given, by))
        return {"model": name, **outlook.told_entry(entry)}

    return acting


async def _given(request: Request, max_body_bytes: int, known: Sequence[str] | None) -> Given:
    """The texts of a body, which may be empty; of a body whose words are not ours (None) nothing is read."""
    body = await read_body(dict(request.headers.raw), request.receive, max_body_bytes, lambda _: None)
    try:
        found = strict_json(body) if body else {}
    except ValueError as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Malformed("the body is an object")
    for problem in _wrong(found, known) if known is not None else ():
        raise Malformed(problem)
    return found if known is not None else {}


def _wrong(found: dict[str, Any], known: Sequence[str]) -> Iterator[str]:
    if not found.keys() <= set(known):
        yield f"the body has words that this route does not know; it knows {', '.join(known)}"
    for word, text in found.items():
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT or not text.isprintable():
            yield f"{word} is a text of 1 to {MAX_TEXT} printable characters"


def _verdicts(passes: str) -> Iterator[str]:
    for word in passes.split(","):
        if word not in (ADVANCE, HOLD, ROLL_BACK):
            raise Malformed(f"pass: of {ADVANCE}, {HOLD} and {ROLL_BACK}, separated by commas")
        yield word


def _described(required: Sequence[str], optional: Sequence[str]) -> dict[str, Any]:
    text = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {word: {**text, "description": _WORDS[word]} for word in (*required, *optional, "why")},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = list(required)
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}
