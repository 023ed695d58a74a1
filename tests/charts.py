"""The chart as Helm itself renders it, for sets of values, and Kubernetes's rules of what a pod may be."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from service import REPOSITORY

CHART = REPOSITORY / "deploy" / "helm" / "scoreline"
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"
Object = dict[str, Any]
Values = dict[str, Any]


def ref(name: str, key: str) -> dict[str, str]:
    return {"name": name, "key": key}


ONE: Values = {
    "models": ["models:/Churn@champion"],
    "trust": {"keys": {"signing.pub": PUBLIC_KEY}},
    "secrets": {"access.admin_key": ref("scoreline", "admin")},
}
TRIED: Values = ONE | {"recordMayBeLost": True}
KEPT: Values = ONE | {"persistence": {"enabled": True}, "spool": {"size": "200Mi"}}
SEVERAL: Values = ONE | {
    "secrets": ONE["secrets"]
    | {"records.database": ref("scoreline", "database"), "records.entity_key": ref("scoreline", "entity")},
    "auditKey": ref("scoreline", "audit.key"),
    "replicas": 3,
}
WHOLE: Values = SEVERAL | {
    "models": ["models:/Churn@champion", "folder:/fraud"],
    "defaultModel": "fraud",
    "image": {"repository": "images.example/scoreline", "digest": "sha256:" + "0" * 64, "pullSecrets": ["images"]},
    "settings": {
        "server": {"workers": 4, "hosts": ["scores.example"]},
        "records": {"segment_bytes": 1 << 28, "retention_days": 730, "on_full": "answer"},
        "rollout": {"steps": [0.01, 0.25, 1.0], "hold_back": 0.05, "loss": "log"},
        "latency": {"models": ["fraud/total_ms=300"]},
        "registry": {"mlflow_uri": 'https://mlflow.example/?a="b"&c=<d>\\'},
        "log": {"format": "json"},
    },
    "trust": {"keys": {"signing.pub": PUBLIC_KEY}, "configMap": "trusted", "files": ["old.pub", "new.pub"]},
    "envFrom": [{"secretRef": {"name": "mlflow"}}, {"configMapRef": {"name": "region"}}],
    "tls": {"secret": "certificate"},
    "bundles": {"volume": {"persistentVolumeClaim": {"claimName": "bundles"}}, "path": "/srv/bundles"},
    "spool": {"size": "20Gi"},
    "ports": {"data": 9000, "control": 9001},
    "drain": {"delaySeconds": 15, "seconds": 30, "shipSeconds": 60},
    "update": {"maxSurge": "25%"},
    "autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 30, "requestsInFlight": 2.5},
    "service": {"type": "LoadBalancer", "port": 443, "controlPort": 8443, "annotations": {"a.example/b": "c"}},
    "ingress": {"enabled": True, "className": "nginx", "hosts": ["scores.example"], "tlsSecret": "scores"},
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"team": "quotes"}}}],
        "controlFrom": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 5432}]}],
    },
    "serviceMonitor": {
        "enabled": True,
        "key": ref("scraper", "key"),
        "labels": {"release": "prometheus"},
        "tlsConfig": {"insecureSkipVerify": True},
    },
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "serviceAccount": {"annotations": {"a.example/role": "archive"}},
    "podAnnotations": {"a.example/team": "quotes"},
    "podLabels": {"team": "quotes"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "scores", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
}
WHOLE_KEPT: Values = WHOLE | {"persistence": {"enabled": True, "storageClass": "ssd"}, "user": None, "group": None}
SETS = {
    "tried": TRIED,
    "kept": KEPT,
    "several": SEVERAL,
    "whole": WHOLE,
    "whole-kept": WHOLE_KEPT,
}


@cache
def chart() -> Any:
    """The chart, loaded by Helm."""
    import helm_python

    return helm_python.Chart.load(CHART)


@cache
def _rendered(values: str, name: str) -> str:
    return json.dumps(chart().render(json.loads(values), name=name, namespace="prod"))


@cache
def _objects(values: str, name: str) -> str:
    found = json.loads(_rendered(values, name))
    manifests = [text for path, text in found.items() if path.endswith(".yaml")]
    return json.dumps([each for text in manifests for each in yaml.safe_load_all(text) if each])


def texts(values: Values, name: str = "demo") -> dict[str, str]:
    """Each template as it is rendered, by its file's name."""
    found = json.loads(_rendered(json.dumps(values), name))
    return {path.rpartition("/")[2]: text for path, text in found.items()}


def objects(values: Values, name: str = "demo") -> list[Object]:
    """What would be given to Kubernetes."""
    found: list[Object] = json.loads(_objects(json.dumps(values), name))
    return found


def of_kind(values: Values, kind: str) -> list[Object]:
    return [found for found in objects(values) if found["kind"] == kind]


def the(values: Values, kind: str) -> Object:
    (found,) = of_kind(values, kind)
    return found


def workload(values: Values) -> Object:
    (found,) = [each for each in objects(values) if each["kind"] in ("Deployment", "StatefulSet")]
    return found


def pod(values: Values) -> Object:
    found: Object = workload(values)["spec"]["template"]
    return found


def container(values: Values, name: str) -> Object:
    (found,) = [each for each in pod(values)["spec"]["containers"] if each["name"] == name]
    return found


def refusal(values: Values) -> str:
    """What Helm says of values that it does not take; empty where it takes them."""
    import helm_python

    try:
        _rendered(json.dumps(values), "demo")
    except helm_python.HelmError as error:
        return str(error)
    return ""


VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}


def unrestricted(spec: Mapping[str, Any]) -> list[str]:
    """Which controls of the Pod Security Standard `restricted` a pod's spec breaks, baseline's among them.

    By the standard's own table (kubernetes.io, Pod Security Standards): each line is one of its controls.
    """
    of_pod = spec.get("securityContext") or {}
    containers = [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]
    contexts = [each.get("securityContext") or {} for each in containers]
    ports = [port for each in containers for port in each.get("ports", [])]
    hooks = [
        handler
        for each in containers
        for handler in (*(each.get("lifecycle") or {}).values(), *(v for k, v in each.items() if k.endswith("Probe")))
    ]
    profiles = [(each.get("seccompProfile") or of_pod.get("seccompProfile") or {}).get("type") for each in contexts]
    capabilities = [each.get("capabilities") or {} for each in contexts]
    options = [context.get("seLinuxOptions") or {} for context in (of_pod, *contexts)]
    types = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
    controls = {
        "Host Namespaces": not any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
        "Privileged Containers": not any(each.get("privileged") for each in contexts),
        "HostPath Volumes and Volume Types": all(
            set(volume) - {"name"} <= VOLUMES for volume in spec.get("volumes", [])
        ),
        "Host Ports": not any(port.get("hostPort") for port in ports),
        "Host Probes and Lifecycle Hooks": not any(
            (hook.get(kind) or {}).get("host") for hook in hooks for kind in ("httpGet", "tcpSocket")
        ),
        "AppArmor": all(
            (each.get("appArmorProfile") or {}).get("type") in (None, "RuntimeDefault", "Localhost")
            for each in (of_pod, *contexts)
        ),
        "SELinux": all(
            each.get("type", "") in types and not each.get("user") and not each.get("role") for each in options
        ),
        "/proc Mount Type": all(each.get("procMount", "Default") == "Default" for each in contexts),
        "Sysctls": {each["name"] for each in of_pod.get("sysctls", [])} <= SYSCTLS,
        "Windows Host Process": not any(
            (each.get("windowsOptions") or {}).get("hostProcess") for each in (of_pod, *contexts)
        ),
        "Privilege Escalation": all(each.get("allowPrivilegeEscalation") is False for each in contexts),
        "Running as Non-root": all(each.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is True for each in contexts),
        "Running as Non-root user": not any(each.get("runAsUser") == 0 for each in (of_pod, *contexts)),
        "Seccomp": all(profile in ("RuntimeDefault", "Localhost") for profile in profiles),
        "Capabilities": all(
            each.get("drop") == ["ALL"] and set(each.get("add", [])) <= {"NET_BIND_SERVICE"} for each in capabilities
        ),
    }
    return [control for control, holds in controls.items() if not holds]
