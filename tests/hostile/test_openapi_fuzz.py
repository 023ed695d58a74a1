"""Schemathesis over the service's own OpenAPI: what is declared is answered, whatever is sent."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from scoreline.access.scopes import CONTROL_PLANE, DATA_PLANE
from service import SealedModel, Service, serving

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
]
CASES = 300  # of each operation on rows and each mode
SOME = 200  # of each operation of another protocol and each mode
FEW = 60  # of the operations that take no body
PROTOCOLS = sorted(f"POST {path}" for method, path in DATA_PLANE if method == "POST" and "/predict" not in path)
OTHERS = ("/ping", "/health", "/version")
GETS = [path for method, path in DATA_PLANE if method == "GET"]
CONTROL = sorted(f"{method} {path}" for method, path in CONTROL_PLANE if "/docs" not in path and "openapi" not in path)
PAGES = [f"GET {path}" for path in GETS if path in OTHERS or path.startswith(("/v1", "/v2"))]
KEY = {"x-api-key": "a-key-with-which-all-is-open"}  # it is the attack suite that guesses keys
CONFIG = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})
NEVER = ("Traceback", "/tmp", ".py", "site-packages")


@pytest.fixture(scope="module")
def service(sealed: SealedModel, churn: SealedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("fuzz")
    how = {"SCORELINE_ACCESS__ADMIN_KEY": KEY["x-api-key"]}
    with serving(sealed, churn, folder=folder, arguments=("--default", "fraud"), **how) as running:
        workers = [worker.pid for worker in running.workers()]
        yield running
        assert [worker.pid for worker in running.workers()] == workers
        assert "Traceback" not in running.log


def operations(url: str) -> dict[str, Any]:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=CONFIG, headers=KEY)
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


def fuzz(operation: Any, mode: GenerationMode, cases: int) -> Counter[int]:
    """So many cases of one operation, of a fixed seed; how many were answered with each status."""
    statuses: Counter[int] = Counter()
    session = requests.Session()
    session.headers.update(KEY)

    @seed(20_261_124)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if mode is GenerationMode.POSITIVE and operation.path.endswith("/infer"):
            of_one_row(case.body)
        answer = case.call(session=session)
        statuses[answer.status_code] += 1
        assert [word for word in NEVER if word in answer.text] == []
        too_large = answer.status_code == 413  # a refusal too, which the last check does not know as one
        case.validate_response(answer, checks=CHECKS[:-1] if too_large else CHECKS)

    ask()
    return statuses


def of_one_row(body: Any) -> None:
    """Makes every tensor one of a single value: JSON Schema cannot say that data are as many as their shape says."""
    by_name = {tensor["name"]: tensor for tensor in body["inputs"]}
    body["inputs"] = [{**tensor, "shape": [1], "data": tensor["data"][:1]} for tensor in by_name.values()]
    body.pop("outputs", None)
    body.pop("parameters", None)


def test_every_route_is_declared(service: Service) -> None:
    named = {f"POST /models/{name}/predict" for name in ("fraud", "churn")}
    undeclared = {"POST /models/{name}/predict", "GET /openapi.json", "GET /docs", "GET /docs/assets/{file}"}
    assert set(operations(service.url)) == {" ".join(route) for route in DATA_PLANE} - undeclared | named


@pytest.mark.parametrize("mode", (GenerationMode.POSITIVE, GenerationMode.NEGATIVE), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", ("POST /predict", "POST /models/fraud/predict", "POST /models/churn/predict"))
def test_rows(service: Service, label: str, mode: GenerationMode) -> None:
    statuses = fuzz(operations(service.url)[label], mode, CASES)
    assert statuses.total() >= CASES
    if mode is GenerationMode.POSITIVE:
        assert statuses[200] > CASES / 4 and set(statuses) <= {200, 413}
    else:
        assert statuses[422] > CASES / 4 and set(statuses) <= {200, 400, 413, 415, 422}


@pytest.mark.parametrize("label", ("GET /models", "GET /models/{name}", "GET /healthz/live", "GET /healthz/ready"))
def test_pages(service: Service, label: str) -> None:
    assert fuzz(operations(service.url)[label], GenerationMode.POSITIVE, FEW).total() >= 1


@pytest.mark.parametrize("mode", (GenerationMode.POSITIVE, GenerationMode.NEGATIVE), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", PROTOCOLS)
def test_other_protocols(service: Service, label: str, mode: GenerationMode) -> None:
    statuses = fuzz(operations(service.url)[label], mode, SOME)
    assert statuses.total() >= SOME
    if mode is GenerationMode.POSITIVE:
        assert statuses[200] >= SOME / 20, statuses
    else:
        assert statuses[400] + statuses[422] >= SOME / 8, statuses


@pytest.mark.parametrize("label", PAGES)
def test_pages_of_other_protocols(service: Service, label: str) -> None:
    assert fuzz(operations(service.url)[label], GenerationMode.POSITIVE, FEW).total() >= 1


def test_every_route_of_the_control_plane_is_declared(service: Service) -> None:
    assert sorted(operations(service.admin_url)) == CONTROL


@pytest.mark.parametrize("label", CONTROL)
def test_the_control_plane(service: Service, label: str) -> None:
    assert fuzz(operations(service.admin_url)[label], GenerationMode.POSITIVE, FEW).total() >= 1
