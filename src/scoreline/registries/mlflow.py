"""MLflow's model registry. A version can be served once a bundle hangs on it: an artifact, and the tag with its digest.

The bundle lies beside the model of that very version, so whoever uses the alias in MLflow notices nothing of it.
MLflow is loaded when it is first asked: it takes a second, and workers never ask.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from scoreline.core.errors import NotFound, RegistryDown
from scoreline.core.names import load
from scoreline.core.refs import Ref, Version

TAG: Final = "scoreline.digest"
ALIAS_TAG: Final = "scoreline.alias"
FOLDER: Final = "scoreline"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_ABSENT: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")
_STATUS: Final = re.compile(r"(?:failed with error code|too many) (\d{3})\b")
# MLflow's own defaults would wait for minutes before they say that a server is down.
_PROMPT: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
_ADDRESSES: Final = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
_OWN_DEFAULTS: Final = ("mlflow.db", "mlruns")


class MlflowRegistry:
    """Resolves `models:/NAME/VERSION`, `models:/NAME@ALIAS` and `models:/NAME/STAGE`. A `core.ports.Registry`.

    `uri` is MLflow's tracking and registry address; empty, MLflow's own settings count (MLFLOW_TRACKING_URI).
    """

    def __init__(self, uri: str = "") -> None:
        self._uri = uri or None
        self._known: Any = None

    def resolve(self, ref: str) -> Version:
        """The sealed version a REF names now; raises NotFound, with the `seal` command where it is not sealed."""
        name, version, tags = self.look_up(ref)
        digest = tags.get(TAG, "")
        if not _DIGEST.fullmatch(digest):
            named = f"models:/{name}/{version}"
            raise NotFound(
                f"{ref}{'' if ref == named else f' is {named}, which'} is not sealed: run `scoreline seal {named} "
                "--output SCORE_NAME --reference ROWS.parquet --key signing.key --register`"
            )
        return Version(name, version, digest, f"{FOLDER}/{digest}")

    def look_up(self, ref: str) -> tuple[str, str, dict[str, str]]:
        """Name, version and tags of what a REF names now, sealed or not; raises NotFound or RegistryDown."""
        wanted = Ref.parse(ref)
        with _answering(ref):
            found = self._find(wanted)
        if found is None:
            raise NotFound(
                f"{ref}: the registry has no stage {wanted.version!r} with a version of {wanted.name!r}, and no alias "
                "of that name"
            )
        return found.name, str(found.version), dict(found.tags)

    def fetch(self, version: Version, folder: Path) -> Path:
        """Downloads the bundle that hangs on a version into `folder`."""
        return self._download(version.name, version.version, version.place, folder)

    def fetch_model(self, name: str, version: str, folder: Path) -> Path:
        """Downloads the MLflow model of a version, its folder with the file MLmodel, into `folder`."""
        return self._download(name, version, "", folder)

    def attach(self, name: str, version: str, digest: str, bundle: Path) -> None:
        """Hangs a bundle on a version: the files first, then the tag that says they are whole; raises as `look_up`."""
        with _answering(f"models:/{name}/{version}"):
            self._artifacts(name, version).log_artifacts(str(bundle), f"{FOLDER}/{digest}")
            self._client.set_model_version_tag(name, version, TAG, digest)

    def point(self, name: str, alias: str, version: str, note: str) -> None:
        """Has an alias name a version, with a tag on it that says whose doing that is; raises as `look_up`."""
        with _answering(f"models:/{name}@{alias}"):
            self._client.set_model_version_tag(name, version, f"{ALIAS_TAG}.{alias}", note)
            self._client.set_registered_model_alias(name, alias, version)

    def _find(self, wanted: Ref) -> Any:
        client = self._client
        if wanted.version.isdigit():
            return client.get_model_version(wanted.name, wanted.version)
        if wanted.alias:
            return client.get_model_version_by_alias(wanted.name, wanted.alias)
        if not wanted.version:
            raise NotFound(f"models:/{wanted.name}: name a version, an alias or a stage, as in models:/{wanted.name}/1")
        return self._in_stage(wanted.name, wanted.version) or client.get_model_version_by_alias(
            wanted.name, wanted.version
        )

    def _in_stage(self, name: str, stage: str) -> Any:
        """The newest version in a stage; None where the server has no such stage, or nothing in it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # stages are deprecated, and still what some servers have
            try:
                found = self._client.get_latest_versions(name, stages=[stage])
            except load("mlflow.exceptions:MlflowException") as error:
                if error.error_code not in _ABSENT or "stage" not in str(error).lower():
                    raise
                return None
        return found[0] if found else None

    def _download(self, name: str, version: str, place: str, folder: Path) -> Path:
        with _answering(f"models:/{name}/{version}"):
            return Path(self._artifacts(name, version).download_artifacts(place, str(folder)))

    def _artifacts(self, name: str, version: str) -> Any:
        place = self._client.get_model_version_download_uri(name, version)
        get_repository = load("mlflow.store.artifact.artifact_repository_registry:get_artifact_repository")
        return get_repository(place, tracking_uri=self._uri)

    @property
    def _client(self) -> Any:
        if self._known is None:
            told = self._uri or any(map(os.environ.get, _ADDRESSES))
            if not told and not any(Path(name).exists() for name in _OWN_DEFAULTS):  # MLflow would make an empty one
                raise NotFound("models:/ references need a registry: set registry.mlflow_uri or MLFLOW_TRACKING_URI")
            for name, value in _PROMPT.items():
                os.environ.setdefault(name, value)
            try:
                client = load("mlflow:MlflowClient")
            except ImportError as error:
                raise NotFound(f"models:/ references need {error.name}: install scoreline[mlflow]") from None
            logging.getLogger("urllib3").setLevel(logging.ERROR)  # it would warn of every try, we say it once
            self._known = client(tracking_uri=self._uri, registry_uri=self._uri)
        return self._known


@contextmanager
def _answering(what: str) -> Iterator[None]:
    """MLflow's errors as ours: what is not there, and a registry that cannot be asked."""
    try:
        yield
    except (NotFound, RegistryDown):
        raise
    except Exception as error:  # MLflow lets those of its transports, stores and parsers through
        if getattr(error, "error_code", "") in _ABSENT:
            raise NotFound(f"{what}: the registry has no such version") from None
        raise RegistryDown(f"the registry cannot be asked for {what} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """The status that a server answered with, where it did: MLflow keeps it in its message only."""
    status = _STATUS.search(str(error))
    code = "" if status else getattr(error, "json", {}).get("error_code", "")
    return f"HTTP {status[1]}" if status else " ".join(filter(None, (type(error).__name__, str(code))))
