"""A model as it is served: every dialect's endpoint by its path."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scoreline.core.arms import CHAMPION
from scoreline.core.budget import USUAL, Budget
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Score
from scoreline.core.schema import Schema
from scoreline.doors.http.deadlines import Deadlines, Trusted, nobody
from scoreline.doors.http.endpoint import Endpoint
from scoreline.doors.http.kserve import KServeDialect
from scoreline.doors.http.mlflow import MlflowDialect
from scoreline.doors.http.openinference import OpenInferenceDialect
from scoreline.doors.http.own import OwnDialect
from scoreline.doors.http.quoting import Quoting
from scoreline.features.ladder import Lookup
from scoreline.operations.standing import Version

Looking = Callable[[Schema], Lookup | None]


def no_lookup(_: Schema) -> None:
    """Where nothing is looked up."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model's endpoints: by paths with its name, and by those of the default model.

    `manifest` is the champion's, whose schema rows are read by; `versions` are all that answer, the champion first;
    `by_number` are those a caller may ask for.
    """

    manifest: Manifest
    named: Mapping[str, Endpoint]
    unnamed: Mapping[str, Endpoint]
    versions: Sequence[Version]
    by_number: Mapping[str, Manifest]


def serve_model(
    manifest: Manifest,
    score: Score,
    max_rows: int,
    *,
    csv_header: bool = True,
    versions: Sequence[Version] = (),
    quoting: Quoting | None = None,
    schema: Schema | None = None,
    looking: Looking = no_lookup,
    budget: Budget = USUAL,
    is_trusted: Trusted = nobody,
) -> Served:
    """All dialects over one score, and those that name a version over the score of that one, where it has its own.

    `schema` is what `score` takes rows of, if not the manifest's; `looking` gives the lookup of a schema.
    """
    name, schema = manifest.name, schema or manifest.schema
    lookup, deadlines = looking(schema), Deadlines(name, budget, manifest.measured, is_trusted)
    own = Endpoint(name, OwnDialect(schema, max_rows), score, deadlines, quoting, lookup)
    open_inference = Endpoint(name, OpenInferenceDialect(manifest, max_rows, schema), score, deadlines, quoting, lookup)
    mlflow = Endpoint(name, MlflowDialect(schema, max_rows, csv_header=csv_header), score, deadlines, quoting, lookup)
    asked = {
        f"/v2/models/{name}/versions/{version.manifest.version}/infer": Endpoint(
            name,
            OpenInferenceDialect(version.manifest, max_rows),
            version.score,
            deadlines,
            None,
            looking(version.manifest.schema),
        )
        for version in versions
        if version.score is not None
    }
    return Served(
        manifest,
        {
            f"/models/{name}/predict": own,
            f"/v1/models/{name}:predict": Endpoint(
                name, KServeDialect(schema, max_rows), score, deadlines, quoting, lookup
            ),
            f"/v2/models/{name}/infer": open_inference,
            f"/v2/models/{name}/versions/{manifest.version}/infer": open_inference,
            **asked,
        },
        {"/predict": own, "/invocations": mlflow},
        versions or (Version(manifest, CHAMPION, 1.0),),
        {manifest.version: manifest}
        | {version.manifest.version: version.manifest for version in versions if version.score is not None},
    )
