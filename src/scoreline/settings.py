"""Every setting, once: name with unit, type, default, help.

A flag goes before the environment, the environment before the file, the file before the default.
`SCORELINE_SERVER__PORT` is `[server] port`. An unknown key is an error, never a default.
"""

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from scoreline.access.scopes import SCOPES
from scoreline.core import ids
from scoreline.core.errors import NotFound, SettingError
from scoreline.core.given import typed
from scoreline.rollout.policy import Policy

PREFIX: Final = "SCORELINE_"
DEFAULT_FILE: Final = "scoreline.toml"
ON_FULL: Final = ("refuse", "answer")
FSYNC: Final = ("never", "second", "always")
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def option(default: Any, text: str, *, secret: bool = False) -> Any:
    return dataclasses.field(default=default, repr=not secret, metadata={"help": text})


@dataclass(frozen=True, slots=True)
class Server:
    host: str = option("127.0.0.1", "Address the service binds to; others than loopback need credentials.")
    port: int = option(8000, "Port of the data plane; 0 takes a free one.")
    admin_port: int = option(8001, "Port of the control plane; 0 takes a free one.")
    workers: int = option(1, "Processes that answer predictions.")
    max_body_bytes: int = option(8 * 1024 * 1024, "Largest request body; larger ones are answered 413.")
    max_rows: int = option(5000, "Most rows in one request; more are answered 413.")
    csv_header: bool = option(True, "Whether CSV sent to /invocations names its columns in the first line.")
    keep_alive_s: int = option(5, "How long an idle connection is kept open.")
    drain_delay_ms: int = option(0, "On SIGTERM, how long to go on accepting while readiness is already false.")
    drain_ms: int = option(10_000, "On SIGTERM, how long open connections may take to finish.")


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


@dataclass(frozen=True, slots=True)
class Access:
    admin_key: str = option("", "A key with every scope, at least 24 characters.", secret=True)
    anonymous: tuple[str, ...] = option((), f"Scopes anyone has without a key: {', '.join(SCOPES)}.")


@dataclass(frozen=True, slots=True)
class Records:
    segment_bytes: int = option(64 * 1024 * 1024, "A spool file is closed and a new one begun at this size.")
    database: str = option(
        "",
        "URL of the decision database, as postgresql+psycopg://USER:PASSWORD@HOST/NAME; else SQLite in `state_dir`.",
        secret=True,
    )
    retention_days: int = option(0, "Decisions older than this are removed, unless a legal hold covers them; 0: never.")
    archive: str = option(
        "", "Folder, or URI as s3://BUCKET/PLACE, where decisions go as Parquet after `archive_days`."
    )
    archive_days: int = option(90, "Days that decisions stay in the database, where `archive` is set.")
    max_bytes: int = option(8 * 1024**3, "Most bytes of the spool, looked at once a second; 0: what the disk holds.")
    on_full: str = option("refuse", "While nothing can be recorded: `refuse` (503), or `answer` and count.")
    entity_key: str = option("", "Secret that entities are hashed with; hosts of one database share it.", secret=True)
    audit_key: str = option(
        "", "Private EC key (PEM) that checkpoints are signed with; else one is made in `state_dir`."
    )
    segment_s: int = option(
        3600, "A spool file is closed after this time, whatever its size; what is in it can go then."
    )
    fsync: str = option("never", "When the spool is put on the disk: `never` by us, each `second`, `always` first.")


@dataclass(frozen=True, slots=True)
class Rollout:
    """Every name is one of `rollout.policy.Policy`, which knows the ranges; a test holds the defaults equal."""

    steps: tuple[float, ...] = option(
        (0.01, 0.1, 0.5, 1.0), "Shares of the traffic a canary answers, one after another."
    )
    min_step_s: int = option(600, "A step lasts at least this long.")
    min_requests: int = option(500, "Entities, or requests that name none, a canary answers at least in each step.")
    silence_s: int = option(600, "A canary that has answered nothing for so long is held until it does.")
    horizon_s: int = option(1_209_600, "A step that has come to no verdict by then is held, and a person is told.")
    max_requests: int = option(1_000_000, "The same, in entities or requests that the canary has answered in the step.")
    alpha_rollback: float = option(
        0.01, "How likely a version that does no harm is rolled back, however often one looks."
    )
    alpha_advance: float = option(0.05, "How likely a version that does harm (`r1` and `p_tol`) goes a step further.")
    r1: float = option(2.0, "Harm: this many times the events of the champion, or more ...")
    p_tol: float = option(0.01, "... with this share of requests, or more, that have the event.")
    slow_ratio: float = option(1.5, "How many times as often the canary may be slower than the champion's p99.")
    score_ratio: float = option(1.5, "How many times as many, or as few, high scores a canary may give.")
    hold_back: float = option(0.0, "Share of the traffic the champion keeps until a person promotes the canary.")
    needs_approval: str = option(
        "none", "Before which step somebody other than the sealer approves: `none`, `first` or `last`."
    )
    shadow_gate: str = option(
        "outcomes", "What lets a version out of shadow: `outcomes`, `agreement` and an approval, or `none`."
    )
    alpha_shadow: float = option(0.01, "How likely a claim of shadow (BETTER, SAFE, WORSE) is false.")
    delta: float = option(0.005, "SAFE: the mean loss is at most this much higher than the champion's.")
    loss: str = option("brier", "What scores are held against outcomes by: `brier`, `log`, or `cost` with `costs`.")
    costs: tuple[str, ...] = option((), "What wrong outcomes cost, as `decline/0=25`: OUTCOME/ACTUAL=COST.")
    segment: str = option("", "A field: shadow is told for each of its words, or each quarter of its numbers, too.")
    total_ms: int = option(200, "What a request may take in all.")
    network_ms: int = option(50, "Of it, the network's share.")
    features_ms: int = option(10, "Of it, the feature store's share.")
    model_ms: int = option(140, "Of it, the model's share: a version with a higher p99 becomes no canary.")
    hang_ms: int = option(1000, "A worker whose canary has not answered by then is ended and started anew.")
    quote_days: int = option(
        0, "How long a quote token pins its version, which stays loaded; at most 30; 0: none are made."
    )
    quotes_on_rollback: str = option("honour", "What happens to quotes of a version rolled back: `honour` or `refuse`.")
    alias_moved: str = option(
        "shadow", "What an alias that someone moved asks for: `shadow`, `serve` at once, or `ignore` it."
    )


@dataclass(frozen=True, slots=True)
class Notify:
    webhook: str = option(
        "",
        "URL that is told of each step of a rollout, in JSON that Slack takes; https, or http on loopback.",
        secret=True,
    )
    secret: str = option("", "Secret that notifications are signed with, at least 24 characters.", secret=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. Values travel down as plain arguments; lower layers never see this class."""

    state_dir: str = option(".scoreline", "Folder of everything the service keeps.")
    server: Server = dataclasses.field(default_factory=Server)
    trust: Trust = dataclasses.field(default_factory=Trust)
    registry: Registry = dataclasses.field(default_factory=Registry)
    access: Access = dataclasses.field(default_factory=Access)
    records: Records = dataclasses.field(default_factory=Records)
    rollout: Rollout = dataclasses.field(default_factory=Rollout)
    notify: Notify = dataclasses.field(default_factory=Notify)

    def __post_init__(self) -> None:
        access = self.access
        unknown = sorted(set(access.anonymous) - set(SCOPES))
        if unknown:
            raise SettingError(f"access.anonymous: unknown scope {unknown[0]!r}; known: {', '.join(SCOPES)}")
        if access.admin_key and len(access.admin_key) < 24:
            raise SettingError("access.admin_key: at least 24 characters; `openssl rand -hex 24` makes one")
        if not access.admin_key.isascii():
            raise SettingError("access.admin_key: ASCII only, because it travels in a header")
        self._check_ranges()
        self._check_notify()
        policy_of(self.rollout)

    def _check_notify(self) -> None:
        webhook, secret = self.notify.webhook, self.notify.secret
        if webhook and not _may_be_told(webhook):
            raise SettingError("notify.webhook: an https URL, or http to 127.0.0.1, [::1] or localhost")
        if bool(webhook) != bool(secret):
            raise SettingError("notify.webhook and notify.secret go together: what is told is signed")
        if secret and (len(secret) < 24 or not secret.isascii()):
            raise SettingError("notify.secret: at least 24 characters, ASCII only; `openssl rand -hex 24` makes one")

    def _check_ranges(self) -> None:
        server = self.server
        if server.max_rows > ids.MAX_ROWS:
            raise SettingError(f"server.max_rows: at most {ids.MAX_ROWS}")
        leasts = {"workers": 1, "max_body_bytes": 1, "max_rows": 1, "keep_alive_s": 1}
        leasts |= {"drain_delay_ms": 0, "drain_ms": 0}
        for name, least in leasts.items():
            if getattr(server, name) < least:
                raise SettingError(f"server.{name}: at least {least}")
        if self.registry.poll_ms < 100:
            raise SettingError("registry.poll_ms: at least 100")
        for name in ("port", "admin_port"):
            if not 0 <= getattr(server, name) <= 65_535:
                raise SettingError(f"server.{name}: between 0 and 65535")
        self._check_records()

    def _check_records(self) -> None:
        records = self.records
        if not 1 << 12 <= records.segment_bytes <= 1 << 32:
            raise SettingError("records.segment_bytes: between 4 KiB and 4 GiB")
        if records.segment_s < 1:
            raise SettingError("records.segment_s: at least 1")
        if records.max_bytes and records.max_bytes < 2 * records.segment_bytes:
            raise SettingError("records.max_bytes: 0, or at least twice records.segment_bytes")
        if records.retention_days < 0:
            raise SettingError("records.retention_days: at least 0")
        if records.archive_days < 1:
            raise SettingError("records.archive_days: at least 1")
        if records.entity_key and len(records.entity_key) < 32:
            raise SettingError("records.entity_key: at least 32 characters; `openssl rand -hex 32` makes one")
        for name, known in (("on_full", ON_FULL), ("fsync", FSYNC)):
            if getattr(records, name) not in known:
                raise SettingError(f"records.{name}: one of {', '.join(known)}")


def _may_be_told(url: str) -> bool:
    """Whether a URL is one that a secret may be sent to."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # a port that is none raises ValueError
    except ValueError:
        return False
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))


def load_settings(
    file: Path | None,
    environment: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from a file (None: `SCORELINE_CONFIG`, else ./scoreline.toml if there is one), environment and flags.

    `flags` are dotted names, as `server.port`; None means not given. `defaults` go before those of the settings.
    Of the environment only names of a setting or with `__` in them are ours: Kubernetes puts others with this prefix
    there. Raises SettingError or NotFound.
    """
    path = file or (Path(environment[f"{PREFIX}CONFIG"]) if environment.get(f"{PREFIX}CONFIG") else None)
    known = dict(options())
    given: dict[str, Any] = dict(defaults or {})
    given |= _from_file(path or Path(DEFAULT_FILE), required=path is not None)
    for name, text in environment.items():
        dotted = name.removeprefix(PREFIX).lower().replace("__", ".")
        if name.startswith(PREFIX) and ("." in dotted or dotted in known):
            given[dotted] = text
    given |= {name: value for name, value in (flags or {}).items() if value is not None}
    sections: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        if name not in known:
            raise SettingError(f"unknown setting {name!r}; docs/settings.md lists all")
        section, _, key = name.rpartition(".")
        try:
            sections.setdefault(section, {})[key] = typed(known[name].default, value)
        except ValueError as error:
            raise SettingError(f"{name}: {error}") from None
    top = sections.pop("", {})
    classes: dict[str, Any] = {field.name: field.default_factory for field in dataclasses.fields(Settings)}
    return Settings(**top, **{section: classes[section](**values) for section, values in sections.items()})


def policy_of(rollout: Rollout) -> Policy:
    """The policy these settings make; raises SettingError."""
    return Policy(**dataclasses.asdict(rollout))


def options() -> Iterator[tuple[str, "dataclasses.Field[Any]"]]:
    """Every setting's dotted name and field, in the order of the documentation."""
    for field in dataclasses.fields(Settings):
        if "help" in field.metadata:
            yield field.name, field
        else:
            for inner in dataclasses.fields(field.default_factory):  # type: ignore[arg-type]
                yield f"{field.name}.{inner.name}", inner


def _from_file(path: Path, *, required: bool) -> Iterator[tuple[str, Any]]:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise NotFound(f"no settings at {path}") from None
        return
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not TOML: {error}") from None
    sections = {name.partition(".")[0] for name, _ in options() if "." in name}
    for name, value in found.items():
        if isinstance(value, dict) and name in sections:
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value
