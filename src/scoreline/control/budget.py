"""`GET /budget/{name}`: which part of a request spends what, against its share."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from fastapi import Path

from scoreline.core.budget import Budgets
from scoreline.core.errors import NotFound
from scoreline.records.spent import RECENT_S, Spent, spending
from scoreline.web.routes import Routes

SpentOf = Callable[[str], Sequence[Spent]]
Name = Annotated[str, Path(alias="name", description="Name of a model that is served here.")]
SHARES: Final = {"features": "features_ms", "model": "model_ms", "total": "here_ms"}


def add_budget(routes: Routes, budgets: Budgets, models: Callable[[], Sequence[str]], spent_of: SpentOf) -> None:
    """`models` are those served; `spent_of` gives what the record says of one, over all workers of this host."""

    async def budget(name: Name) -> dict[str, Any]:
        """What requests of the last 10 minutes spent, by part, at p50, p95 and p99, and the share of each part."""
        if name not in models():
            raise NotFound("no such model is served here; GET /status lists those that are")
        allowed = budgets.of(name)
        found = spending(spent_of(name), allowed.here_ms, time.time_ns())
        return {
            "model": name,
            "last_s": RECENT_S,
            "requests": found.requests,
            "within": found.within,
            "network_ms": allowed.network_ms,
            "total_ms": allowed.total_ms,
            "parts": {
                part: {"share_ms": getattr(allowed, SHARES[part]) if part in SHARES else None, **times}
                for part, times in found.parts.items()
            },
        }

    routes.add("GET", "/budget/{name}", budget, refusals=(404,), tags=["control"])
