"""What the tests of a service with a feature store share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scoreline.core.batch import Context
from scoreline.core.fitting import lenient
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.features.sqlite import SqliteStore
from service import SealedModel, Service, serving
from stored import rows_of

N = 200
ROW = {"amount": 640.0}


def features_of(at: int) -> dict[str, Any]:
    return {"visits": at % 40, "ratio": at % 10 / 10}


def expected(model: SealedModel, *rows: dict[str, Any]) -> list[float]:
    """The scores of rows that have their features, without a door or a store."""
    bundle = model.bundle
    batch = read_rows(lenient(bundle.manifest.schema), rows, Context(0))
    return [float(score) for score in Scorer(bundle.manifest, load_engine(bundle))(batch).scores[:, 0]]


@contextmanager
def with_sqlite(model: SealedModel, folder: Path, **environment: str) -> Iterator[Service]:
    store = SqliteStore(folder / "state" / "features.db")
    for view, rows in rows_of(N).items():
        store.put(view, rows)
    with serving(model, folder=folder, **environment) as service:
        yield service


@contextmanager
def with_redis(model: SealedModel, folder: Path, url: str, features_ms: int = 100, **more: str) -> Iterator[Service]:
    environment = {"SCORELINE_FEATURES__STORE": "redis", "SCORELINE_FEATURES__URL": url}
    environment["SCORELINE_LATENCY__FEATURES_MS"] = str(features_ms)
    with serving(model, folder=folder, **environment, **more) as service:
        yield service


def sound(service: Service) -> Callable[[], Any]:
    """Gives an answer about c7 once it is not degraded."""

    def ask() -> Any:
        answer = service.post({**ROW, "customer": "c7"}).json()
        return None if "degraded" in answer else answer

    return ask
