"""`[server]`, `[trust]` and `[registry]`: where the service listens, and what it serves."""

from dataclasses import dataclass

from scoreline.access.peers import HEADERS, X_FORWARDED_FOR, networks
from scoreline.core import ids
from scoreline.core.errors import SettingError
from scoreline.settings.option import option


@dataclass(frozen=True, slots=True)
class Server:
    host: str = option("127.0.0.1", "Address the service binds to; others than loopback need credentials.")
    port: int = option(8000, "Port of the data plane; 0 takes a free one.")
    admin_host: str = option("127.0.0.1", "Address of the control plane; others than loopback need credentials.")
    admin_port: int = option(8001, "Port of the control plane; 0 takes a free one.")
    workers: int = option(1, "Processes that answer predictions.")
    max_body_bytes: int = option(8 * 1024 * 1024, "Largest request body; larger ones are answered 413.")
    max_bodies_bytes: int = option(
        256 * 1024 * 1024,
        "Most bytes of all bodies a process holds; beyond that it reads on as some are answered.",
    )
    max_rows: int = option(5000, "Most rows in one request; more are answered 413.")
    csv_header: bool = option(True, "Whether CSV sent to /invocations names its columns in the first line.")
    keep_alive_s: int = option(5, "How long an idle connection is kept open.")
    max_connections: int = option(
        4096,
        "Most connections of a process; then who has been silent longest makes room, and else predictions get 503.",
    )
    max_peer_connections: int = option(0, "Most connections of one address to a process; 0: any number.")
    head_ms: int = option(10_000, "How long a request's head may take to come; then it is answered 408.")
    body_ms: int = option(10_000, "How far a body may be behind `body_min_bytes` each second; then it is answered 408.")
    body_min_bytes: int = option(1024, "What a body must bring each second, but for `body_ms`.")
    unread_ms: int = option(30_000, "How long a client may leave answers unread; then its connection is cut.")
    drain_delay_ms: int = option(0, "On SIGTERM, how long to go on accepting while readiness is already false.")
    drain_ms: int = option(10_000, "On SIGTERM, how long open connections may take to finish.")
    tls_cert: str = option("", "File of the certificate with its chain (PEM); with tls_key both planes speak TLS only.")
    tls_key: str = option("", "File of its private key (PEM).")
    hosts: tuple[str, ...] = option((), "Names this service is asked under (`Host`, without port); empty: any.")
    trusted_proxies: tuple[str, ...] = option((), "Networks of proxies that are believed whom they ask for, as CIDR.")
    forwarded_header: str = option(X_FORWARDED_FOR, f"Where they say it: of {', '.join(HEADERS)}, and only there.")

    def __post_init__(self) -> None:
        if self.max_rows > ids.MAX_ROWS:
            raise SettingError(f"server.max_rows: at most {ids.MAX_ROWS}")
        leasts = {"workers": 1, "max_body_bytes": 1, "max_bodies_bytes": 1, "max_rows": 1, "keep_alive_s": 1}
        leasts |= {"drain_delay_ms": 0, "drain_ms": 0, "max_peer_connections": 0}
        leasts |= {"max_connections": 1, "head_ms": 1, "body_ms": 1, "body_min_bytes": 1, "unread_ms": 1}
        for name, least in leasts.items():
            if getattr(self, name) < least:
                raise SettingError(f"server.{name}: at least {least}")
        for name in ("port", "admin_port"):
            if not 0 <= getattr(self, name) <= 65_535:
                raise SettingError(f"server.{name}: between 0 and 65535")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise SettingError("server.tls_cert and server.tls_key go together")
        if not all(host and host.isascii() and host.isprintable() and "/" not in host for host in self.hosts):
            raise SettingError("server.hosts: names or addresses, without scheme and port")
        networks(self.trusted_proxies)
        if self.forwarded_header not in HEADERS:
            raise SettingError(f"server.forwarded_header: one of {', '.join(HEADERS)}")


@dataclass(frozen=True, slots=True)
class Trust:
    keys: tuple[str, ...] = option((), "Files of the public keys whose bundles are trusted.")
    revoked_keys: tuple[str, ...] = option((), "Fingerprints of keys that no longer count.")
    revoked_digests: tuple[str, ...] = option((), "Digests of bundles or files that are refused whoever signed them.")


@dataclass(frozen=True, slots=True)
class Registry:
    folder: str = option("bundles", "Folder that `folder:/NAME` refers to.")
    mlflow_uri: str = option("", "Address of MLflow that `models:/NAME` refers to; else MLFLOW_TRACKING_URI counts.")
    sagemaker_folder: str = option("/opt/ml/model", "Folder of the bundles that `serve` without a REF serves.")
    poll_ms: int = option(1000, "How often the steward asks what aliases and stages name by now.")

    def __post_init__(self) -> None:
        if self.poll_ms < 100:
            raise SettingError("registry.poll_ms: at least 100")
