"""The one scorer: a batch in, decisions out. Nothing else in Scoreline turns margins into answers."""

import time

import numpy as np

from scoreline.core.batch import Batch
from scoreline.core.decision import Author, Decisions, same_author
from scoreline.core.errors import Problem, RowsRefused
from scoreline.core.fitting import Fit
from scoreline.core.ids import IdSource
from scoreline.core.link import LINKS, all_finite
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Engine
from scoreline.core.schema import Schema


class Scorer:
    """Scores batches with one version of one model. It is the innermost `Score`.

    `fit` makes batches of another schema into those of the version's, where they are of another.
    """

    def __init__(
        self, manifest: Manifest, engine: Engine, role: str = "champion", epoch: int = 0, fit: Fit | None = None
    ) -> None:
        author = Author(
            model=manifest.name,
            version=manifest.version,
            digest=manifest.digest,
            engine=engine.name,
            fields=manifest.schema.names,
            output=manifest.output,
            classes=manifest.classes,
            outcomes=manifest.policy.outcomes,
            role=role,
            epoch=epoch,
        )
        self.author = same_author(author)
        self.new_base = IdSource().new_base
        self._manifest = manifest
        self._engine = engine
        self._fit = fit
        self._link = LINKS[manifest.link]
        self._policy = manifest.policy

    @property
    def schema(self) -> Schema:
        """What it takes."""
        return self._manifest.schema

    def in_role(self, role: str, epoch: int | None = None) -> "Scorer":
        """The same version on the same engine, in another role, and of another epoch where one is given."""
        epoch = self.author.epoch if epoch is None else epoch
        return Scorer(self._manifest, self._engine, role, epoch, self._fit)

    def unfitted(self) -> "Scorer":
        """The same for batches of its own schema."""
        return Scorer(self._manifest, self._engine, self.author.role, self.author.epoch)

    def __call__(self, batch: Batch, base: int = 0) -> Decisions:
        """Margins by the engine, scores by the link, outcomes by the thresholds; raises EngineFailed or RowsRefused.

        `base`: the id of the first row, where it is drawn already.
        """
        if self._fit is not None:
            batch = self._fit(batch)
        start_ns = time.perf_counter_ns()
        margins = self._engine.predict(batch.values)
        model_ns = time.perf_counter_ns() - start_ns
        if not all_finite(margins):
            unscored = np.flatnonzero(~np.isfinite(margins).all(axis=1)).tolist()
            problems = [Problem(row, "", "the model has no score for this row") for row in unscored]
            raise RowsRefused(problems, "the range in which the model has scores")
        scores = self._link(margins)
        return Decisions(
            base=base or self.new_base(batch.context.time_ns),
            author=self.author,
            context=batch.context,
            values=batch.values,
            margins=margins,
            scores=scores,
            outcomes=self._policy.codes(scores),
            defaulted=batch.defaulted,
            degraded=batch.degraded,
            model_ns=model_ns,
        )
