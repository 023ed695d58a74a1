"""A model as it is served: every dialect's endpoint by its path."""

from collections.abc import Mapping
from dataclasses import dataclass

from scoreline.core.manifest import Manifest
from scoreline.core.ports import Score
from scoreline.doors.http.endpoint import Endpoint
from scoreline.doors.http.kserve import KServeDialect
from scoreline.doors.http.mlflow import MlflowDialect
from scoreline.doors.http.openinference import OpenInferenceDialect
from scoreline.doors.http.own import OwnDialect


@dataclass(frozen=True, slots=True)
class Served:
    """A model's endpoints: by paths with its name, and by those of the default model."""

    manifest: Manifest
    named: Mapping[str, Endpoint]
    unnamed: Mapping[str, Endpoint]


def serve_model(manifest: Manifest, score: Score, max_rows: int, *, csv_header: bool = True) -> Served:
    """All dialects over one score."""
    name, schema = manifest.name, manifest.schema
    own = Endpoint(OwnDialect(schema, max_rows), score)
    open_inference = Endpoint(OpenInferenceDialect(manifest, max_rows), score)
    mlflow = Endpoint(MlflowDialect(schema, max_rows, csv_header=csv_header), score)
    return Served(
        manifest,
        {
            f"/models/{name}/predict": own,
            f"/v1/models/{name}:predict": Endpoint(KServeDialect(schema, max_rows), score),
            f"/v2/models/{name}/infer": open_inference,
            f"/v2/models/{name}/versions/{manifest.version}/infer": open_inference,
        },
        {"/predict": own, "/invocations": mlflow},
    )
