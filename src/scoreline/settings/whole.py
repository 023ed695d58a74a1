"""All settings, and how they are read: a flag goes before the environment, the file and the default, in this order."""

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scoreline.core.errors import NotFound, SettingError
from scoreline.core.given import typed
from scoreline.settings.access import Access
from scoreline.settings.drift import Drift
from scoreline.settings.features import Features
from scoreline.settings.latency import Latency
from scoreline.settings.limits import Limits
from scoreline.settings.log import Log, Trace
from scoreline.settings.oauth import OAuth
from scoreline.settings.option import option
from scoreline.settings.records import Records
from scoreline.settings.rollout import Notify, Rollout
from scoreline.settings.server import Registry, Server, Trust

PREFIX: Final = "SCORELINE_"
DEFAULT_FILE: Final = "scoreline.toml"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. Values travel down as plain arguments; lower layers never see this class."""

    state_dir: str = option(".scoreline", "Folder of everything the service keeps.")
    server: Server = dataclasses.field(default_factory=Server)
    trust: Trust = dataclasses.field(default_factory=Trust)
    registry: Registry = dataclasses.field(default_factory=Registry)
    access: Access = dataclasses.field(default_factory=Access)
    features: Features = dataclasses.field(default_factory=Features)
    limits: Limits = dataclasses.field(default_factory=Limits)
    oauth: OAuth = dataclasses.field(default_factory=OAuth)
    latency: Latency = dataclasses.field(default_factory=Latency)
    records: Records = dataclasses.field(default_factory=Records)
    rollout: Rollout = dataclasses.field(default_factory=Rollout)
    drift: Drift = dataclasses.field(default_factory=Drift)
    notify: Notify = dataclasses.field(default_factory=Notify)
    log: Log = dataclasses.field(default_factory=Log)
    trace: Trace = dataclasses.field(default_factory=Trace)

    def __post_init__(self) -> None:
        if self.rollout.hang_ms <= self.latency.budgets.longest_model_ms:
            raise SettingError("rollout.hang_ms: more than latency.model_ms, of every model")


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
