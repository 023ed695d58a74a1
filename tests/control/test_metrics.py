"""`GET /metrics`: equal to what clients counted themselves, whoever dies; every metric in one table and in the docs."""

import json
import re
from collections import Counter
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from scoreline.metrics import BOUNDS_S, HISTOGRAM, METRICS, PREFIX
from service import FRAUD_ROW, SealedModel, Service, run_scoreline, serving, wait_until

REPOSITORY = Path(__file__).parents[2]
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(service: Service, **headers: str) -> Found:
    answer = service.admin("/metrics", **headers)
    assert answer.status_code == 200, answer.text
    families = list(text_string_to_metric_families(answer.text))
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def total(found: Found, name: str, **labels: str) -> float:
    """The sum of a metric over all its labels but the given ones."""
    wanted = set(labels.items())
    return sum(value for (its, of), value in found.items() if its == PREFIX + name and wanted <= of)


def counted(service: Service, n_rows: int) -> Found:
    """The metrics once the steward has counted so many rows."""

    def read() -> Found | None:
        try:
            found = scrape(service)
        except httpx.TransportError:  # it is being replaced
            return None
        return found if total(found, "predictions_total") >= n_rows else None

    return wait_until(read, "all is counted")  # type: ignore[no-any-return]


def test_they_equal_what_the_client_counted_though_worker_and_steward_are_killed(
    sealed: SealedModel, tmp_path: Path
) -> None:
    mine: Counter[str] = Counter()

    def ask(service: Service, n: int) -> None:
        for number in range(n):
            body = [[FRAUD_ROW] * (1 + number % 3), {**FRAUD_ROW, "amount": "abc"}, b"{", {**FRAUD_ROW}][number % 4]
            if number % 4 == 3:
                body.pop("age_days")
            headers = {"idempotency_key": f"k{number % 2}"} if number % 10 == 3 else {}
            answer = service.post(body, **headers)
            if answer.status_code != 200:
                mine[json.loads(answer.text)["type"].removeprefix("/errors/")] += 1
            elif "idempotency-replayed" in answer.headers:
                mine["repeated"] += 1
            else:
                found = answer.json()
                rows = found.get("predictions", [found])
                mine.update(answered=1, rows=len(rows), defaulted=sum(len(row["defaulted"]) for row in rows))
                mine.update(row["outcome"] for row in rows)

    with serving(sealed, folder=tmp_path, workers=2) as service:
        ask(service, 60)
        for worker in service.workers():
            worker.kill()
        ask(service, 30)
        counted(service, mine["rows"])
        steward = service.steward()
        assert steward is not None
        steward.kill()
        ask(service, 30)
        assert service.get("/nothing-here").status_code == 404
        found = counted(service, mine["rows"])
        wait_until(lambda: total(scrape(service), "process_ends_total") == 3, "all deaths are counted")
        again = scrape(service)
    assert total(found, "requests_total") - total(found, "unsent_total") == mine["answered"]
    assert total(found, "predictions_total", model="fraud", version="1", role="champion") == mine["rows"]
    assert total(found, "repeated_total") == mine["repeated"] > 0
    assert total(found, "defaulted_total") == mine["defaulted"] > 0
    assert total(found, "defaulted_fields_total", field="age_days") == mine["defaulted"]
    assert total(found, "refusals_total", kind="rows-refused") == mine["rows-refused"] > 0
    assert total(found, "refusals_total", kind="malformed", model="fraud") == mine["malformed"] > 0
    assert total(found, "refusals_total", kind="not-found", model="") == 1
    for outcome in ("approve", "review", "decline"):
        assert total(found, "outcomes_total", outcome=outcome) == mine[outcome]
    for part in ("total", "features", "model"):
        assert total(found, "request_seconds_count", part=part) == mine["answered"]
        at_most = [total(found, "request_seconds_bucket", part=part, le=f"{bound:.12g}") for bound in BOUNDS_S]
        assert at_most == sorted(at_most)
    assert total(found, "score_count") == mine["rows"]
    assert 0 < total(found, "score_sum") < mine["rows"]
    processes = {dict(of)["process"] for (name, of) in again if name == "scoreline_process_resident_bytes"}
    assert processes == {"scoreline", "worker-0", "worker-1", "steward", "shadow"}
    assert {name: total(again, "process_ends_total", process=name) for name in ("worker", "steward")} == {
        "worker": 2,
        "steward": 1,
    }


def test_every_metric_is_in_the_table_and_has_its_labels(sealed: SealedModel, tmp_path: Path) -> None:
    table = {metric.shown: metric for metric in METRICS}
    with serving(sealed, folder=tmp_path) as service:
        service.post(FRAUD_ROW)
        counted(service, 1)
        plain = service.admin("/metrics")
        open_metrics = service.admin("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert plain.headers["content-type"].startswith("text/plain")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")
    declared = set()
    for family in text_string_to_metric_families(plain.text):
        declared.add(family.name)
        for sample in family.samples:
            metric = next(
                table[name] for name in (sample.name, re.sub("_(bucket|sum|count)$", "", sample.name)) if name in table
            )
            behind = {"le"} if metric.kind == HISTOGRAM and sample.name.endswith("_bucket") else set()
            assert sample.labels.keys() == {*metric.labels} | behind, sample.name
            assert family.documentation == metric.help
    assert declared == {name.removesuffix("_total") for name in table}


def test_the_scope_metrics_opens_them_and_nothing_else(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path, SCORELINE_ACCESS__ADMIN_KEY="a" * 40) as service:
        state = str(tmp_path / "state")
        created = run_scoreline(
            "keys", "create", "prometheus", "--scope", "metrics", "--state-dir", state, cwd=tmp_path
        )
        key = created.stdout.split()[-1]
        wait_until(lambda: service.admin("/metrics", x_api_key=key).status_code == 200, "the key is known")
        assert service.admin("/metrics", authorization=f"Bearer {key}").status_code == 200
        assert service.admin("/metrics").status_code == 401
        for path in ("/status", "/predictions/00000000-0000-7000-8000-000000000000"):
            assert service.admin(path, x_api_key=key).status_code == 403
        assert service.post(FRAUD_ROW, x_api_key=key).status_code == 403


def test_the_page_of_the_docs_is_written_from_the_table() -> None:
    page = (REPOSITORY / "docs" / "metrics.md").read_text()
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        assert f"| `{metric.shown}` | {metric.kind} | {labels} | {metric.help} |" in page


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_are_as_prometheus_has_them(metric: object) -> None:
    name = metric.name  # type: ignore[attr-defined]
    assert re.fullmatch(r"[a-z][a-z_]*[a-z]", name)
    assert not name.endswith(("_total", "_info", "_ms", "_count", "_sum", "_bucket"))
