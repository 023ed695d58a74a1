"""The control plane's routes on one decision: what was recorded, computed again, explained.

Callers see their own decisions, an admin all of them, both of their models only. What loads a bundle
runs in a process apart, few at a time.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Path as InPath
from fastapi import Query, Request

from scoreline.access.caller import Caller
from scoreline.core.decision import Decisions
from scoreline.core.errors import DatabaseDown
from scoreline.core.ports import Record
from scoreline.operations.predictions import Prediction, find, prediction
from scoreline.operations.replay import explain_one, replay_one
from scoreline.records.outcomes import Known
from scoreline.replay.explain import Adverse, Explanation
from scoreline.replay.recompute import Verdict
from scoreline.web.routes import Routes

KnownOf = Callable[[Decisions], Known | None]
APART_AT_ONCE: Final = 2
TAGS: Final = ["predictions"]
Id = Annotated[str, InPath(alias="id", description="The `prediction_id` of an answer.")]
Side = Annotated[Adverse, Query(description="Which side of the margin is the worse one for whom it is about.")]
WithValues = Annotated[bool, Query(description="Whether reasons carry the fields' values; sensitive ones never do.")]


def add_predictions(routes: Routes, record: Record, known_of: KnownOf, state_dir: Path) -> None:
    """The routes are plain functions: they wait for files and processes, and so run in threads."""
    room = threading.BoundedSemaphore(APART_AT_ONCE)

    def own(request: Request, decision_id: str) -> Decisions:
        caller: Caller = request.state.caller
        return find(record, decision_id, None if caller.is_admin else caller.name, caller.may_use)

    def show(request: Request, decision_id: Id) -> Prediction:
        """A recorded decision: features as used, scores, outcome, who answered, and what is known to have happened."""
        found, known = own(request, decision_id), None
        with suppress(DatabaseDown):  # what is in the spool is shown all the same
            known = known_of(found)
        return prediction(found, state_dir, known, time.time_ns())

    def replay(request: Request, decision_id: Id) -> Verdict:
        """The decision computed again from the bundle it names, and its margins compared bit for bit."""
        found = own(request, decision_id)
        with room:
            return replay_one(found, state_dir)

    def explanation(request: Request, decision_id: Id, adverse: Side = "higher", values: WithValues = False) -> Any:
        """What each field added to the margin, and at most four principal reasons in the schema's words."""
        found = own(request, decision_id)
        with room:
            return explain_one(found, state_dir, adverse=adverse, values=values)

    refusals = (404, 422, 503)
    routes.add("GET", "/predictions/{id}", show, refusals=refusals, response_model=Prediction, tags=TAGS)
    routes.add("GET", "/predictions/{id}/replay", replay, refusals=refusals, response_model=Verdict, tags=TAGS)
    routes.add(
        "GET",
        "/predictions/{id}/explanation",
        explanation,
        refusals=(*refusals, 409),
        response_model=Explanation,
        tags=TAGS,
    )
