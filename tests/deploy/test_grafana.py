"""Dashboards are what their script writes, and what Grafana takes."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from service import REPOSITORY

GRAFANA = REPOSITORY / "deploy" / "grafana"
SCHEMA = json.loads((REPOSITORY / "tests" / "schemas" / "grafana-dashboard.json").read_text())
SCRIPT = runpy.run_path(str(REPOSITORY / "scripts" / "dashboards"))
PAGES = sorted((GRAFANA / "dashboards").glob("*.json"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_dashboard_is_current_and_fits_the_schema(page: Path) -> None:
    text = page.read_text()
    assert text == SCRIPT["built"](page.stem, SCRIPT["DASHBOARDS"][page.stem])
    found: dict[str, Any] = json.loads(text)
    Draft202012Validator.check_schema(SCHEMA)
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(found)] == []
    numbers = [panel["id"] for panel in found["panels"]]
    assert len(set(numbers)) == len(numbers)
    titles = [panel["title"] for panel in found["panels"]]
    assert len(set(titles)) == len(titles)
    places = [
        (column, line)
        for panel in found["panels"]
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for line in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places), "panels lie over one another"
    assert max(column for column, _ in places) < 24


def test_there_is_one_of_each_and_the_schema_refuses_what_grafana_would() -> None:
    assert {page.stem for page in PAGES} == {"service", "model", "rollout", "capacity"}
    whole = json.loads(PAGES[0].read_text())
    for break_it in (
        lambda found: found.pop("uid"),
        lambda found: found["panels"][1].pop("datasource"),
        lambda found: found["panels"][1]["targets"].clear(),
        lambda found: found["panels"][1]["gridPos"].update(w=25),
        lambda found: found["panels"][1].update(type="graph"),
    ):
        broken = json.loads(json.dumps(whole))
        break_it(broken)
        assert list(Draft202012Validator(SCHEMA).iter_errors(broken))


def test_provisioning_names_the_data_source_and_where_dashboards_are() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "scoreline.yml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "scoreline.yml").read_text())["providers"]
    assert provider["type"] == "file"
