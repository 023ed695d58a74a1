"""The chart is what Helm, Kubernetes and Scoreline itself take: rendered for sets of values, and its pod run."""

import copy
import json
import re
import runpy
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import typer.main
import yaml
from jsonschema import Draft202012Validator

from charts import (
    CHART,
    KEPT,
    ONE,
    PUBLIC_KEY,
    SETS,
    SEVERAL,
    TRIED,
    WHOLE,
    WHOLE_KEPT,
    Object,
    Values,
    chart,
    container,
    objects,
    of_kind,
    pod,
    ref,
    refusal,
    texts,
    the,
    unrestricted,
    workload,
)
from prometheus_server import promtool
from scoreline.access.scopes import CONTROL_PLANE, DATA_PLANE, PUBLIC
from scoreline.cli import build_app
from scoreline.metrics import METRICS
from scoreline.settings import PREFIX, Settings, load_settings, options
from service import FRAUD_ROW, PATIENT_MS, REPOSITORY, SealedModel, clean_environment, wait_until
from zygote import Forked

pytestmark = pytest.mark.usefixtures("helm")
ALL = pytest.mark.parametrize("values", SETS.values(), ids=SETS)
SCRIPT = runpy.run_path(str(REPOSITORY / "scripts" / "helm-schema"))
PAGE = (REPOSITORY / "docs" / "kubernetes.md").read_text()
VERSIONS = ("1.30", "1.37")  # the oldest that Chart.yaml takes, and the newest there is a schema of
OWN = {kind: REPOSITORY / "tests" / "schemas" / f"{kind.lower()}.json" for kind in ("ServiceMonitor", "PrometheusRule")}
ETC, STATE = "/etc/scoreline", "/var/lib/scoreline"
PLANES = {"workers": DATA_PLANE, "steward": CONTROL_PLANE}
UNITS = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
SECRET = "0123456789abcdef" * 3
SECRETS = {
    "records.database": "postgresql+psycopg://scoreline@db.example/scoreline",
    "features.url": "redis://r:6379/0",
}
SECRETS |= {"limits.redis": "redis://r:6379/0", "notify.webhook": "https://hooks.example/a"}


def settings(values: Values, folder: Path) -> Settings:
    """The settings as both containers read them, their secrets as the kubelet gives them."""
    file = folder / "scoreline.toml"
    file.write_text(config(values))
    read = [load_settings(file, environment(container(values, name))) for name in ("workers", "steward")]
    assert read[0] == read[1]
    return read[0]


def config(values: Values) -> str:
    (found,) = [each for each in of_kind(values, "ConfigMap") if "scoreline.toml" in each["data"]]
    text: str = found["data"]["scoreline.toml"]
    return text


def environment(found: Object) -> dict[str, str]:
    """What is in the environment of a container; of secrets something that may be one."""
    given = {each["name"]: each for each in found["env"] if "valueFrom" in each}
    texts = {name: SECRETS.get(name.removeprefix(PREFIX).lower().replace("__", "."), SECRET) for name in given}
    assert all(set(each["valueFrom"]) == {"secretKeyRef"} for each in given.values())
    return texts


def n_bytes(size: str) -> int:
    return int(size[:-2]) * UNITS[size[-2:]]


def problems(found: Object, version: str) -> str:
    """What the schema of a kind says of an object; empty: nothing."""
    import kubernetes_validate

    if found["kind"] in OWN:
        schema = json.loads(OWN[found["kind"]].read_text())
        Draft202012Validator.check_schema(schema)
        return "; ".join(error.message for error in Draft202012Validator(schema).iter_errors(found))
    try:
        assert kubernetes_validate.validate(found, version, strict=True) == version
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return ""


@ALL
def test_helm_lints_it_strictly(values: Values) -> None:
    import helm_python

    for given in (values, None):
        found = helm_python.lint(CHART, given, strict=True, namespace="prod", kube_version=f"v{VERSIONS[-1]}.0")
        assert found["errors"] == []
        assert [each for each in found["messages"] if each["severity"] > 1] == []


@ALL
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(values: Values, version: str) -> None:
    found = objects(values)
    assert {f"{each['kind']} {each['metadata']['name']}": problems(each, version) for each in found} == {
        f"{each['kind']} {each['metadata']['name']}": "" for each in found
    }


def test_the_schemas_refuse_what_kubernetes_would() -> None:
    def is_refused(kind: str, break_it: Callable[[Object], Any]) -> bool:
        found = copy.deepcopy(the(WHOLE, kind))
        break_it(found["spec"])
        return bool(problems(found, VERSIONS[-1]))

    assert is_refused("Deployment", lambda spec: spec["template"]["spec"].update(spread=[]))
    assert is_refused("HorizontalPodAutoscaler", lambda spec: spec.update(maxReplicas="many"))
    assert is_refused("ServiceMonitor", lambda spec: spec["endpoints"][0].update(interval="soon"))
    assert is_refused("ServiceMonitor", lambda spec: spec["endpoints"][0].update(bearer="x"))
    assert is_refused("PrometheusRule", lambda spec: spec["groups"][0]["rules"][0].pop("expr"))
    assert is_refused("PrometheusRule", lambda spec: spec["groups"][0]["rules"][0].update(record="both"))


@ALL
def test_its_pod_is_admitted_where_restricted_is_enforced(values: Values) -> None:
    spec = pod(values)["spec"]
    assert unrestricted(spec) == []
    for each in spec["containers"]:
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("control", "break_it"),
    [
        ("Host Namespaces", lambda spec: spec.update(hostNetwork=True)),
        ("Privileged Containers", lambda spec: spec["containers"][1]["securityContext"].update(privileged=True)),
        ("HostPath Volumes and Volume Types", lambda spec: spec["volumes"].append({"name": "x", "hostPath": {}})),
        ("Host Ports", lambda spec: spec["containers"][0]["ports"][0].update(hostPort=80)),
        (
            "Host Probes and Lifecycle Hooks",
            lambda spec: spec["containers"][0]["livenessProbe"]["httpGet"].update(host="127.0.0.1"),
        ),
        ("Privilege Escalation", lambda spec: spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation")),
        ("Running as Non-root", lambda spec: spec["securityContext"].pop("runAsNonRoot")),
        ("Running as Non-root user", lambda spec: spec["securityContext"].update(runAsUser=0)),
        ("Seccomp", lambda spec: spec["securityContext"].pop("seccompProfile")),
        ("Capabilities", lambda spec: spec["containers"][1]["securityContext"].pop("capabilities")),
    ],
)
def test_a_pod_that_breaks_the_standard_is_found(control: str, break_it: Callable[[Object], Any]) -> None:
    spec = copy.deepcopy(pod(WHOLE)["spec"])
    break_it(spec)
    assert unrestricted(spec) == [control]


@ALL
def test_the_settings_are_read_by_scoreline_and_the_spool_is_80_percent_of_its_volume(
    values: Values, tmp_path: Path
) -> None:
    read = settings(values, tmp_path)
    if values.get("persistence", {}).get("enabled"):
        claims = {each["metadata"]["name"]: each for each in workload(values)["spec"]["volumeClaimTemplates"]}
        size = claims["spool"]["spec"]["resources"]["requests"]["storage"]
    else:
        size = next(each for each in pod(values)["spec"]["volumes"] if each["name"] == "spool")["emptyDir"]["sizeLimit"]
    assert read.records.max_bytes == n_bytes(size) * 8 // 10
    assert read.state_dir == STATE
    for section, given in values.get("settings", {}).items():
        for name, value in given.items():
            found = getattr(getattr(read, section), name)
            assert (list(found) if isinstance(found, tuple) else found) == value
    for name in values["secrets"]:
        section, _, key = name.partition(".")
        assert getattr(getattr(read, section), key) == SECRETS.get(name, SECRET)


@ALL
def test_what_is_read_and_written_is_mounted(values: Values, tmp_path: Path) -> None:
    read, spec = settings(values, tmp_path), pod(values)["spec"]
    claims = workload(values)["spec"].get("volumeClaimTemplates", [])
    volumes = {each["name"]: each for each in spec["volumes"]} | {each["metadata"]["name"]: each for each in claims}
    assert len(volumes) == len(spec["volumes"]) + len(claims)
    for each in spec["containers"]:
        mounts = {mount["mountPath"]: mount for mount in each["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} == volumes.keys()
        written = {path for path, mount in mounts.items() if not mount.get("readOnly")}
        assert written == {STATE, f"{STATE}/spool", f"{STATE}/shared", "/tmp"}
        own = {each["name"]: each.get("value") for each in each["env"]}
        files = [own["SCORELINE_CONFIG"], *read.trust.keys]
        files += [name for name in (read.records.audit_key, read.server.tls_cert, read.server.tls_key) if name]
        assert all(str(Path(file).parent) in mounts for file in files)
        if "bundles" in volumes:
            assert read.registry.folder in mounts
    if values.get("trust", {}).get("configMap"):
        assert [Path(key).name for key in read.trust.keys] == ["signing.pub", "old.pub", "new.pub"]
    trusted = [each for each in of_kind(values, "ConfigMap") if each["metadata"]["name"].endswith("-trust")]
    assert [each["data"] for each in trusted] == [values["trust"]["keys"]]


@ALL
def test_ports_lead_from_service_ingress_and_policy_to_where_scoreline_listens(values: Values, tmp_path: Path) -> None:
    read = settings(values, tmp_path)
    listening = {"data": read.server.port, "control": read.server.admin_port}
    assert read.server.host == read.server.admin_host == "0.0.0.0"
    named = {}
    for each in pod(values)["spec"]["containers"]:
        named |= {port["name"]: port["containerPort"] for port in each["ports"]}
    assert named == listening
    assert container(values, "workers")["ports"][0]["name"] == "data"
    given, led = {"port": 80, "controlPort": 8001} | values.get("service", {}), set()
    for service in of_kind(values, "Service"):
        ports = {port["name"]: port for port in service["spec"]["ports"]}
        assert {name: port["targetPort"] for name, port in ports.items()} == {name: name for name in ports}
        if service["spec"].get("clusterIP") != "None":
            wanted = {"data": given["port"], "control": given["controlPort"]}
            assert {name: port["port"] for name, port in ports.items()}.items() <= wanted.items()
        led |= ports.keys()
    assert led == listening.keys()
    for ingress in of_kind(values, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            (path,) = rule["http"]["paths"]
            assert path["backend"]["service"] == {"name": "demo-scoreline", "port": {"name": "data"}}
    (policy,) = of_kind(values, "NetworkPolicy")
    assert {port["port"] for each in policy["spec"]["ingress"] for port in each["ports"]} == listening.keys()
    for monitor in of_kind(values, "ServiceMonitor"):
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] == "control"
        assert ("GET", endpoint["path"]) in CONTROL_PLANE


@ALL
def test_what_selects_pods_selects_these_and_what_scales_scales_this(values: Values) -> None:
    labels = pod(values)["metadata"]["labels"].items()
    spec = workload(values)["spec"]
    selectors = [spec["selector"]["matchLabels"]]
    selectors += [each["spec"]["selector"] for each in of_kind(values, "Service")]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in of_kind(values, "NetworkPolicy")]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in of_kind(values, "PodDisruptionBudget")]
    spread = spec["template"]["spec"]["topologySpreadConstraints"]
    selectors += [each["labelSelector"]["matchLabels"] for each in spread]
    assert len(selectors) >= 6
    assert all(selector and selector.items() <= labels for selector in selectors)
    assert {each["topologyKey"] for each in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    for monitor in of_kind(values, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        found = [each for each in of_kind(values, "Service") if wanted <= each["metadata"]["labels"].items()]
        assert [[port["name"] for port in each["spec"]["ports"]] for each in found] in (
            [["control"]],
            [["control", "data"]],
        )
    for scaler in of_kind(values, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == (workload(values)["kind"], workload(values)["metadata"]["name"])
        assert "replicas" not in spec
        cpu, in_flight = scaler["spec"]["metrics"]
        assert cpu["containerResource"]["container"] == "workers"
        assert cpu["containerResource"]["target"] == {"type": "Utilization", "averageUtilization": 80}
        assert in_flight["pods"]["target"] == {"type": "AverageValue", "averageValue": "2.5"}


@ALL
def test_probes_are_routes_that_everybody_may_ask(values: Values) -> None:
    scheme = "HTTPS" if values.get("tls") else "HTTP"
    probes = 0
    for each in pod(values)["spec"]["containers"]:
        for probe in (found for name, found in each.items() if name.endswith("Probe")):
            asked = probe["httpGet"]
            assert PLANES[each["name"]]["GET", asked["path"]] == PUBLIC
            assert (asked["port"], asked["scheme"]) == (each["ports"][0]["name"], scheme)
            probes += 1
    assert probes == 5
    assert "readinessProbe" in container(values, "workers")


@ALL
def test_commands_are_scorelines_own_with_the_models_that_are_served(values: Values) -> None:
    commands = typer.main.get_command(build_app(["serve", "steward", "drained"])).commands  # type: ignore[attr-defined]
    stop = container(values, "steward")["lifecycle"]["preStop"]["exec"]
    for found in (container(values, "workers"), container(values, "steward"), stop):
        program, name, *arguments = [*found["command"], *found.get("args", [])]
        assert program == "scoreline"
        parsed = commands[name].make_context(name, arguments).params
        if name == "drained":
            continue
        assert parsed["refs"] == values["models"]
        if name == "serve":
            assert (parsed["steward"], parsed["default"]) == (False, values.get("defaultModel", ""))


@ALL
def test_an_update_takes_no_pod_away_and_a_pod_has_the_time_to_drain(values: Values, tmp_path: Path) -> None:
    read, spec = settings(values, tmp_path), workload(values)["spec"]
    if workload(values)["kind"] == "Deployment":
        assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert the(values, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    drained = container(values, "steward")["lifecycle"]["preStop"]["exec"]["command"]
    wait_s = float(drained[drained.index("--wait-s") + 1])
    ends_s = (read.server.drain_delay_ms + read.server.drain_ms) / 1e3 + 2  # as the supervisor has it
    assert read.server.drain_delay_ms >= 5000
    assert wait_s == ends_s + values.get("drain", {}).get("shipSeconds", 20)
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= wait_s + 8, "the steward's own end"


def test_a_changed_setting_or_key_begins_new_pods_and_nothing_else_does() -> None:
    def sums(values: Values) -> Any:
        return pod(values)["metadata"]["annotations"]["checksum/config"]

    assert sums(SEVERAL) == sums(SEVERAL | {"replicas": 5})
    assert sums(SEVERAL) != sums(SEVERAL | {"settings": {"log": {"level": "DEBUG"}}})
    assert sums(SEVERAL) != sums(SEVERAL | {"trust": {"keys": {"signing.pub": PUBLIC_KEY * 2}}})


def without(values: Values, *secrets: str) -> Values:
    return values | {"secrets": {name: found for name, found in values["secrets"].items() if name not in secrets}}


SCALED = {"autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 4}}
MONITORED = {"serviceMonitor": {"enabled": True}}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (TRIED | {"replicas": 2}, "SQLite is for one replica, and there may be 2: give the URL of a PostgreSQL"),
        (KEPT | {"replicas": 3}, "SQLite is for one replica, and there may be 3: give the URL of a PostgreSQL"),
        (TRIED | SCALED, "SQLite is for one replica, and there may be 4: give the URL of a PostgreSQL"),
        (ONE, "deleted with its pod: give secrets."),
        (without(SEVERAL, "records.entity_key"), "openssl rand -hex 32"),
        (SEVERAL | {"auditKey": {}}, "scoreline keygen --out audit"),
        (SEVERAL | {"auditKey": {}, "replicas": 1}, "scoreline keygen --out audit"),
        (without(TRIED, "access.admin_key"), "nobody needs a key: give secrets."),
        (TRIED | {"models": []}, "models: name what is served"),
        (TRIED | {"trust": {}}, "trust: no bundle is trusted without a public key"),
        (TRIED | {"trust": {"configMap": "trusted"}}, "trust: no bundle is trusted without a public key"),
        (TRIED | {"trust": ONE["trust"] | {"configMap": "trusted"}}, "trust.configMap and trust.files go together"),
        (TRIED | {"trust": ONE["trust"] | {"files": ["old.pub"]}}, "trust.configMap and trust.files go together"),
        (TRIED | MONITORED, "scoreline keys create prometheus --scope metrics"),
        (TRIED | {"spool": {"size": "128Mi"}}, "spool.size: 128Mi is too little"),
        (TRIED | {"ingress": {"enabled": True}}, "ingress.hosts: name one at least"),
        (TRIED | {"ports": {"control": 8000}}, "ports.data and ports.control: two ports"),
        (SEVERAL | {"autoscaling": {"enabled": True, "maxReplicas": 1}}, "autoscaling.minReplicas: at most"),
    ],
)
def test_what_cannot_go_well_is_refused_with_what_to_do(values: Values, said: str) -> None:
    assert said in refusal(values)


@pytest.mark.parametrize(
    "values",
    [
        SEVERAL | SCALED,
        without(TRIED, "access.admin_key") | {"settings": {"access": {"anonymous": ["predict"]}}},
        TRIED | MONITORED | {"settings": {"access": {"anonymous": ["metrics"]}}},
        KEPT | {"secrets": {"records.database": ref("scoreline", "database")}},  # its own keys are kept with it
    ],
)
def test_what_can_is_taken(values: Values) -> None:
    assert refusal(values) == ""


def test_those_outside_are_offered_the_data_plane_alone() -> None:
    for kind in ("LoadBalancer", "NodePort"):
        services = of_kind(SEVERAL | {"service": {"type": kind}}, "Service")
        offered = {each["spec"].get("type", "ClusterIP"): each["spec"]["ports"] for each in services}
        assert {name: [port["name"] for port in ports] for name, ports in offered.items()} == {
            kind: ["data"],
            "ClusterIP": ["control"],
        }


def test_what_a_release_is_called_names_everything_and_no_two_collide() -> None:
    for release in ("demo", "scoreline", "a" * 53):
        names = [(each["kind"], each["metadata"]["name"]) for each in objects(WHOLE_KEPT, release)]
        assert len(set(names)) == len(names)
        assert all("scoreline" in name and len(name) <= 63 for _, name in names)


def leaves(schema: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Object]]:
    """Each value that is none of several, by its path."""
    if "properties" not in schema:
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from leaves(inner, (*path, name))


def nested(path: tuple[str, ...], value: Any) -> Values:
    for name in reversed(path):
        value = {name: value}
    return value  # type: ignore[no-any-return]


SCHEMA: Object = json.loads((CHART / "values.schema.json").read_text())
LEAVES = dict(leaves(SCHEMA))
# Of each JSON type one that it is not; a value may have several.
WRONG: dict[str, Any] = {"object": ["wrong"], "array": {"wrong": 1}}


def validate(values: Values) -> None:
    chart().validate_schema(values)


def test_the_schema_is_current_and_knows_every_value_and_every_setting() -> None:
    assert (CHART / "values.schema.json").read_text() == SCRIPT["built"]()
    validate({})
    declared = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in LEAVES:
        if path[0] not in ("global", "settings", "secrets", "envFrom") and path[-1] != "claims":
            found = declared
            for name in path:
                assert name in found, f"values.yaml has no {'.'.join(path)}"
                found = found[name]
    taken = {".".join(path[1:]) for path in LEAVES if path[0] == "settings"}
    secret = {path[1] for path in LEAVES if path[0] == "secrets"}
    assert taken | secret | SCRIPT["DERIVED"] == {name for name, _ in options()}
    assert not taken & secret


@pytest.mark.parametrize("path", [path for path in LEAVES if path[0] != "global"], ids=".".join)
def test_a_value_of_another_kind_is_refused(path: tuple[str, ...]) -> None:
    import helm_python

    kind = LEAVES[path].get("type", "string")
    with pytest.raises(helm_python.HelmValuesError):
        validate(nested(path, WRONG.get(kind[0] if isinstance(kind, list) else kind, {"wrong": 1})))


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 3},
        {"settings": {"server": {"prot": 8000}}},
        {"settings": {"records": {"database": "postgresql://scoreline:secret@db.example/scoreline"}}},
        {"settings": {"access": {"admin_key": SECRET}}},
        {"settings": {"records": {"max_bytes": 1 << 30}}},
        {"secrets": {"access.admin_key": SECRET}},
        {"secrets": {"access.admin_key": {"name": "scoreline"}}},
        {"secrets": {"server.port": {"name": "scoreline", "key": "port"}}},
        {"trust": {"keys": {"signing.key": "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"}}},
        {"models": ["Churn"]},
        {"spool": {"size": "5G"}},
        {"replicas": 0},
        {"ports": {"data": 80}},
        {"image": {"digest": "latest"}},
        {"update": {"maxSurge": 0}},
        {"persistence": {"accessMode": "ReadWriteMany"}},
    ],
)
def test_a_value_that_is_wrong_is_refused(values: Values) -> None:
    import helm_python

    with pytest.raises(helm_python.HelmValuesError):
        validate(values)


def test_the_documented_values_are_there_with_their_defaults() -> None:
    declared = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = re.findall(r"^\| `([a-zA-Z.]+)` \| (.*?) \|", PAGE, re.MULTILINE)
    assert len(rows) > 20
    for name, shown in rows:
        path = tuple(name.split("."))
        assert path in LEAVES or any(leaf[: len(path)] == path for leaf in LEAVES), name
        found = declared
        for part in path:
            found = found[part]
        if shown.startswith("`"):
            assert yaml.safe_load(shown.strip("`")) == found, name
        elif not shown:
            assert found == "", name


def test_the_values_of_the_page_are_taken() -> None:
    given = yaml.safe_load(block("values", "yaml"))
    trust = {"trust": {"keys": {"signing.pub": PUBLIC_KEY}}}
    assert refusal(given | trust) == ""
    assert workload(given | trust)["spec"]["replicas"] == 3


def block(name: str, language: str) -> str:
    """A block of code on the page, by the name before it."""
    (found,) = re.findall(rf"<!-- {name} -->\n```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_rules_are_those_of_prometheus_and_ask_for_the_job_that_is_scraped() -> None:
    files = sorted((REPOSITORY / "deploy" / "prometheus" / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    assert len(groups) == 2
    assert the(WHOLE, "PrometheusRule")["spec"] == {"groups": groups}
    jobs = set(re.findall(r'job="([^"]*)"', json.dumps(groups).replace('\\"', '"')))
    (endpoint,) = the(WHOLE, "ServiceMonitor")["spec"]["endpoints"]
    assert jobs == {each["replacement"] for each in endpoint["relabelings"] if each["targetLabel"] == "job"}
    assert endpoint["scheme"] == "https"
    assert endpoint["authorization"]["credentials"] == ref("scraper", "key")


def test_a_packaged_chart_has_the_rules_too(tmp_path: Path) -> None:
    import helm_python

    archive = helm_python.package(CHART, destination=tmp_path)
    with helm_python.Chart.load(archive) as packaged:
        found = packaged.render(WHOLE, name="demo", namespace="prod")
    assert {path.rpartition("/")[2]: text for path, text in found.items()} == texts(WHOLE)


@pytest.mark.usefixtures("prometheus")
def test_the_rules_of_autoscaling_on_the_page_ask_for_a_metric_that_there_is(tmp_path: Path) -> None:
    shown = {metric.shown for metric in METRICS}
    (rule,) = yaml.safe_load(block("adapter", "yaml"))["rules"]
    assert rule["name"]["as"] == yaml.safe_load((CHART / "values.yaml").read_text())["autoscaling"]["metric"]
    trigger = yaml.safe_load(block("keda", "yaml"))
    asked = [rule["seriesQuery"], rule["metricsQuery"].replace("<<.Series>>", "scoreline_request_seconds_sum")]
    asked.append(trigger["metadata"]["query"])
    for query in asked:
        (name,) = set(re.findall(r"scoreline_[a-z_]+", query))
        assert name.removesuffix("_sum") in shown
    asked[1] = asked[1].replace("<<.LabelMatchers>>", 'namespace="prod"').replace("<<.GroupBy>>", "pod")
    rules = [{"record": f"asked:{n}", "expr": query} for n, query in enumerate(asked)]
    (tmp_path / "asked.yml").write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    found = promtool("check", "rules", tmp_path / "asked.yml")
    assert found.returncode == 0, found.stdout + found.stderr


def test_nothing_rendered_is_a_secret_and_every_image_is_the_one_that_is_wanted() -> None:
    for values in SETS.values():
        assert of_kind(values, "Secret") == []
        given = values.get("image", {})
        wanted = f"{given['repository']}@{given['digest']}" if given else "scoreline:0.1.0"
        assert {each["image"] for each in pod(values)["spec"]["containers"]} == {wanted}


class Kubelet:
    """The pod's containers as they are rendered, as processes here: its files and folders lie in one of ours."""

    def __init__(self, values: Values, folder: Path) -> None:
        self.values, self.folder = values, folder
        for config_map in of_kind(values, "ConfigMap"):
            place = "trust" if config_map["metadata"]["name"].endswith("-trust") else "config"
            (folder / "etc" / place).mkdir(parents=True)
            for name, text in config_map["data"].items():
                (folder / "etc" / place / name).write_text(self.here(text))

    def here(self, text: str) -> str:
        return text.replace(ETC, str(self.folder / "etc")).replace(STATE, str(self.folder / "state"))

    def run(self, name: str, command: list[str], title: str = "") -> Forked:
        own = {each["name"]: self.here(each["value"]) for each in container(self.values, name)["env"]}
        with (self.folder / f"{title or name}.log").open("wb") as log:
            words = command[1:]
            return Forked(words, self.folder, clean_environment(**own), log.fileno(), log.fileno())

    def start(self, name: str) -> Forked:
        found = container(self.values, name)
        return self.run(name, [*found["command"], *found["args"]])

    def probe(self, name: str, kind: str) -> int:
        """The status that a probe gets; 0: nobody answers."""
        found = container(self.values, name)
        asked, ports = found[f"{kind}Probe"]["httpGet"], {port["name"]: port for port in found["ports"]}
        url = f"{asked['scheme'].lower()}://127.0.0.1:{ports[asked['port']]['containerPort']}{asked['path']}"
        try:
            return httpx.get(url, timeout=5).status_code
        except httpx.TransportError:
            return 0


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def test_the_pod_as_rendered_answers_drains_and_ships_all_it_recorded(sealed: SealedModel, tmp_path: Path) -> None:
    data, control = free_ports()
    values: Values = {
        "models": [str(sealed.folder)],
        "trust": {"keys": {"signing.pub": sealed.public_key.read_text()}},
        "settings": {
            "server": {"workers": 2},
            "access": {"anonymous": ["predict", "metrics"]},
            "latency": {"total_ms": int(PATIENT_MS)},
        },
        "ports": {"data": data, "control": control},
        "host": "127.0.0.1",
        "drain": {"delaySeconds": 4, "seconds": 5, "shipSeconds": 20},
        "recordMayBeLost": True,
    }
    kubelet = Kubelet(values, tmp_path)
    begun = {name: kubelet.start(name) for name in ("steward", "workers")}
    try:
        for name in begun:
            wait_until(lambda name=name: kubelet.probe(name, "startup") == 200, f"{name} has begun")
            assert kubelet.probe(name, "liveness") == 200
        assert kubelet.probe("workers", "readiness") == 200
        url = f"http://127.0.0.1:{data}/predict"
        with httpx.Client(timeout=20) as client:
            assert all(client.post(url, json=FRAUD_ROW).status_code == 200 for _ in range(50))
        metrics = httpx.get(f"http://127.0.0.1:{control}/metrics", timeout=20)
        assert metrics.status_code == 200
        # A pod that ends: workers are told at once, the steward when its preStop is through.
        stop = container(values, "steward")["lifecycle"]["preStop"]["exec"]["command"]
        hook = kubelet.run("steward", stop, "preStop")
        begun["workers"].terminate()
        wait_until(lambda: kubelet.probe("workers", "readiness") == 503, "it is not ready")
        assert httpx.post(url, json=FRAUD_ROW, timeout=20).status_code == 200, "and takes connections still"
        assert begun["workers"].wait(20) == 0
        assert kubelet.probe("steward", "liveness") == 200
        assert hook.wait(40) == 0
        assert list((tmp_path / "state" / "spool").glob("*.seg")) == []
        begun["steward"].terminate()
        assert begun["steward"].wait(10) == 0
        assert n_kept(tmp_path / "state" / "scoreline.db") == 51
    finally:
        for process in begun.values():
            end(process)


def n_kept(file: Path) -> int:
    """How many decisions a database of SQLite's has."""
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM decisions").fetchone()[0])


def end(process: Forked) -> None:
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            child.kill()
    process.kill()
