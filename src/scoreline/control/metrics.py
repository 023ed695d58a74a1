"""`GET /metrics`: what the steward knows, for Prometheus. Nothing is counted for it on the way of a request.

Predictions are those of the record, so they are right with any number of workers and after their deaths; what was never
decided is counted in memory that outlives who counts.
"""

from collections.abc import Callable, Iterable

from fastapi import Request, Response

from scoreline.control.exposition import Exposition
from scoreline.control.samples import Sample
from scoreline.web.routes import Routes


def add_metrics(routes: Routes, sample: Callable[[], Iterable[Sample]]) -> None:
    """The route; the form is what the scraper asks for."""
    exposition = Exposition(sample)

    async def metrics(request: Request) -> Response:
        """Metrics for Prometheus, of all processes of this host."""
        text, content_type = exposition.text(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    routes.add("GET", "/metrics", metrics, tags=["control"], response_class=Response)
