"""What all tests share: one profile for hypothesis, skips that fail in CI, and one small sealed model."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from service import SealedModel, seal_churn, seal_fraud

settings.register_profile(
    "scoreline", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("scoreline")


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> SealedModel:
    """fraud 1: categories, nullable, defaults, units, ranges, a text with a colon, thresholds; one engine."""
    return seal_fraud(tmp_path_factory.mktemp("fraud"))


@pytest.fixture(scope="session")
def sealed_next(sealed: SealedModel) -> SealedModel:
    """fraud 2: the same schema and key, other trees."""
    return seal_fraud(sealed.folder.parent, version="2")


@pytest.fixture(scope="session")
def churn(sealed: SealedModel) -> SealedModel:
    """churn 1: numbers only, no thresholds, no defaults, twin engines; the same key."""
    return seal_churn(sealed.folder.parent)


# What a machine lacks is declared, not detected.
WITHOUT_POSTGRES = "postgres" in os.environ.get("SCORELINE_WITHOUT", "").split(",")
WITHOUT_REDIS = "redis" in os.environ.get("SCORELINE_WITHOUT", "").split(",")
WITHOUT_DOCKER = "docker" in os.environ.get("SCORELINE_WITHOUT", "").split(",")
WITHOUT_PROMETHEUS = "prometheus" in os.environ.get("SCORELINE_WITHOUT", "").split(",")
WITHOUT_HELM = "helm" in os.environ.get("SCORELINE_WITHOUT", "").split(",")
DATABASES = ("sqlite",) if WITHOUT_POSTGRES else ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A real PostgreSQL server: `postgres_server.Postgres`."""
    from postgres_server import postgres_server

    if WITHOUT_POSTGRES:
        pytest.skip("SCORELINE_WITHOUT says that there is no PostgreSQL")
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real MLflow server: `mlflow_server.Mlflow`, of which a test takes its own by `anew`."""
    from mlflow_server import mlflow_server

    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_store() -> Iterator[Any]:
    """A real Redis, the same for all tests that do it no harm: `redis_server.RedisServer`."""
    with _redis() as server:
        yield server


@pytest.fixture
def redis() -> Iterator[Any]:
    """A real Redis for one test, that may do with it as it likes."""
    with _redis() as server:
        yield server


@contextmanager
def _redis() -> Iterator[Any]:
    if WITHOUT_REDIS:
        pytest.skip("SCORELINE_WITHOUT says that there is no Redis")
    from redis_server import redis_server

    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def prometheus() -> None:
    """For tests that run Prometheus, or its tool."""
    if WITHOUT_PROMETHEUS:
        pytest.skip("SCORELINE_WITHOUT says that there is no Prometheus")


@pytest.fixture(scope="session")
def docker() -> Iterator[Any]:
    """A Docker engine: `docker_engine.Engine`."""
    from docker_engine import docker_engine

    if WITHOUT_DOCKER:
        pytest.skip("SCORELINE_WITHOUT says that there is no Docker")
    with docker_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def helm() -> None:
    """For tests that render the chart: its wheel is there for x86-64 only."""
    if WITHOUT_HELM:
        pytest.skip("SCORELINE_WITHOUT says that there is no Helm")


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: a file of SQLite's, and one of a real PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'decisions.db'}"
    url: str = request.getfixturevalue("postgres").new_schema()
    return url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    return failed_where_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    return failed_where_skipped((yield))


def failed_where_skipped(report: Any) -> Any:
    """Under CI=true a skip is a failure."""
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped under CI=true: {report.longrepr}"
    return report
