"""Rules and alerts by Prometheus's own tool, and all of them and every panel against a real service's real metrics."""

import json
import re
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from inservice import database_of
from prometheus_server import DEPLOY, Prometheus, promtool, scraping
from scoreline.metrics import METRICS
from scoreline.operations import rollouts
from scoreline.operations.governed import arm_of
from scoreline.operations.rollouts import By, Frozen
from scoreline.records.ledger import heads
from scoreline.rollout.policy import Policy
from service import FRAUD_ROW, REPOSITORY, SealedModel, Service, run_scoreline, serving, wait_until

pytestmark = pytest.mark.usefixtures("prometheus")
DASHBOARDS = sorted((REPOSITORY / "deploy" / "grafana" / "dashboards").glob("*.json"))
ALERTS = [
    rule for group in yaml.safe_load((DEPLOY / "rules" / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
RECORDED = [
    rule
    for group in yaml.safe_load((DEPLOY / "rules" / "recording.yml").read_text())["groups"]
    for rule in group["rules"]
]
SELECTOR = re.compile(r"(?<![\w:\"])((?:model:|scoreline_)[a-z0-9_:]+)(\{[^}]*\})?")


def queries(page: Path) -> list[str]:
    """What a dashboard asks, as Grafana asks it for all models."""
    found = [target["expr"] for panel in json.loads(page.read_text())["panels"] for target in panel.get("targets", [])]
    return [query.replace("$model", ".*").replace("$__rate_interval", "1m") for query in found]


def test_the_settings_and_rules_are_whole() -> None:
    for what, path in (("config", "prometheus.yml"), ("rules", "rules/recording.yml"), ("rules", "rules/alerts.yml")):
        found = promtool("check", what, path)
        assert found.returncode == 0, found.stdout + found.stderr


def test_each_alert_fires_where_it_must_and_is_silent_where_it_must_not() -> None:
    found = promtool("test", "rules", "tests/alerts.yml")
    assert found.returncode == 0, found.stdout + found.stderr
    cases = yaml.safe_load((DEPLOY / "tests" / "alerts.yml").read_text())["tests"]
    tried = Counter(
        (each["alertname"], bool(each["exp_alerts"])) for case in cases for each in case.get("alert_rule_test", [])
    )
    for alert in ALERTS:
        assert tried[alert["alert"], True] and tried[alert["alert"], False], alert["alert"]
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"].keys() == {"summary", "description"}


def test_rules_and_panels_ask_for_metrics_that_there_are() -> None:
    there = {metric.shown for metric in METRICS} | {rule["record"] for rule in RECORDED}
    asked = [rule["expr"] for rule in (*ALERTS, *RECORDED)] + [query for page in DASHBOARDS for query in queries(page)]
    for expression in asked:
        for name, _ in SELECTOR.findall(expression):
            assert name in there or re.sub("_(bucket|sum|count)$", "", name) in there, name


def test_every_panel_and_alert_of_a_live_service_has_its_data_and_counts_equal_the_clients(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    key_file = tmp_path / "scoreline.key"
    own = {
        "SCORELINE_ACCESS__ANONYMOUS": "predict,read,admin",
        "SCORELINE_LIMITS__PER_CALLER": "100000/minute",
        "SCORELINE_ROLLOUT__MIN_STEP_S": "600",
        "SCORELINE_DRIFT__TICK_S": "1",
    }
    with serving(sealed, folder=tmp_path, workers=2, **own) as service, closing(database_of(service)) as database:
        made = run_scoreline(
            "keys", "create", "prometheus", "--scope", "metrics", "--state-dir", str(service.state_dir), cwd=tmp_path
        )
        key_file.write_text(made.stdout.split()[-1])
        wait_until(lambda: heads(database), "the first champion is in the ledger")
        manifest, ada = sealed_next.manifest, By("ada", "to see")
        arm = arm_of(str(sealed_next.folder), "fraud", manifest.version, manifest.digest)
        rollouts.shadow(database, "fraud", arm, ada)
        rollouts.canary(database, "fraud", arm, Policy(steps=(0.5, 1.0)), Frozen(), ada)
        with scraping(tmp_path, service.admin_url.removeprefix("http://"), key_file=key_file) as prometheus:
            wait_until(lambda: prometheus.query("scoreline_ready"), "it is scraped")
            mine = asked(service)
            assert_counts(prometheus, mine)
            wait_until(lambda: prometheus.query("model:scoreline_score:mean1h"), "the rules are evaluated")
            wait_until(lambda: prometheus.query("scoreline_rollout_evidence"), "the controller has looked")
            wait_until(lambda: prometheus.query("scoreline_drift_evidence"), "drift has had its first tick")
            mine += asked(service)  # rates need a second point
            assert_counts(prometheus, mine)
            for page in DASHBOARDS:
                for query in queries(page):
                    wait_until(lambda query=query: prometheus.query(query), f"{page.stem} has data for {query}")
            for rule in ALERTS:
                prometheus.query(rule["expr"])
                for name, labels in SELECTOR.findall(rule["expr"]):
                    found = prometheus.query(name + labels)
                    assert found, f"{rule['alert']} asks for {name}{labels}, which is not there"
            states = {rule["name"]: rule for group in prometheus.get("/rules")["groups"] for rule in group["rules"]}
            assert all(rule["health"] == "ok" for rule in states.values())
            assert states.keys() == {*(rule["alert"] for rule in ALERTS), *(rule["record"] for rule in RECORDED)}
            firing = {alert["labels"]["alertname"] for alert in prometheus.get("/alerts")["alerts"]}
            assert firing <= {"ScorelineDrift"}, "this client's rows are all alike, which the reference's are not"


def asked(service: Service, n: int = 60) -> Counter[str]:
    """What a client counts of its own requests."""
    mine: Counter[str] = Counter()
    for number in range(n):
        row: dict[str, Any] = {**FRAUD_ROW, "amount": 100.0 * number}
        if number % 3 == 0:
            del row["age_days"]
        answer = service.post({**row, "amount": "abc"} if number % 10 == 9 else row)
        mine[str(answer.status_code)] += 1
        if answer.status_code == 200:
            mine.update(
                (answer.json()["version"], answer.json()["outcome"], "defaulted" if number % 3 == 0 else "whole")
            )
    return mine


def assert_counts(prometheus: Prometheus, mine: Counter[str]) -> None:
    """Each comes to what the client counted, and never beyond."""
    for expression, count in {
        "sum(scoreline_requests_total)": mine["200"],
        "sum(scoreline_predictions_total)": mine["200"],
        'sum(scoreline_requests_total{version="1"})': mine["1"],
        'sum(scoreline_requests_total{version="2", role="canary"})': mine["2"],
        'sum(scoreline_refusals_total{kind="rows-refused", fault="caller"})': mine["422"],
        'sum(scoreline_refusals_total{fault="service"})': 0,
        'sum(scoreline_outcomes_total{outcome="approve"})': mine["approve"],
        "sum(scoreline_score_count)": mine["200"],
        'sum(scoreline_request_seconds_count{part="model"})': mine["200"],
        'sum(scoreline_defaulted_fields_total{field="age_days"})': mine["defaulted"],
    }.items():
        wait_until(lambda e=expression, n=count: prometheus.value(e) >= n, f"{expression} is {count}")
        assert prometheus.value(expression) == count, expression
