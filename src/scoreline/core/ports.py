"""The plug points of the house, on one screen."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from scoreline.core.batch import Batch
from scoreline.core.decision import Author, Decisions
from scoreline.core.link import Floats
from scoreline.core.refs import Version
from scoreline.core.schema import Scalar


class Score(Protocol):
    """One decision per row, in the same order. Every feature that concerns a prediction wraps it: `Score -> Score`."""

    def __call__(self, batch: Batch, /) -> Decisions: ...


class Engine(Protocol):
    """A loaded model. It belongs to one thread; the same row gives the same bits alone or in a batch."""

    name: str

    def predict(self, values: Floats, /) -> Floats:
        """Margins, float64 (n_rows, n_outputs), for values float64 (n_rows, n_fields); raises EngineFailed."""
        ...

    def contributions(self, values: Floats, /) -> Floats | None:
        """What each field adds to the margins, float64 (n_rows, n_outputs, n_fields + 1), the base value last.

        They add up to the margins, but for the rounding of the library. None where the library has no way of its own.
        Raises EngineFailed.
        """
        ...


class Registry(Protocol):
    """Where versions of models are kept."""

    def resolve(self, ref: str, /) -> Version:
        """The version a REF names now, asked for often and so without its files; raises NotFound, RegistryDown."""
        ...

    def fetch(self, version: Version, folder: Path, /) -> Path:
        """The folder of its bundle, not yet verified; what is not here is brought to `folder`. Raises as `resolve`."""
        ...


class FeatureRow(NamedTuple):
    """What a view knows of an entity: values by name (None: known to be missing), and since when, in ns since 1970."""

    entity: str
    time_ns: int
    values: Mapping[str, Scalar | None]


Views = Mapping[str, Sequence[str]]  # names of features by view
Looked = Sequence[Sequence[FeatureRow | None]]  # a row per entity, in it one per view, in the order asked


class FeatureStore(Protocol):
    """Where features of entities are kept: per view and entity the row with the latest event time.

    A row has those of the wanted names that the store has, or more; None where it has none of that view and entity.
    """

    def get(self, views: Views, entities: Sequence[str], /) -> Looked:
        """In bulk, with as much time as it takes; raises StoreDown."""
        ...

    async def aget(self, views: Views, entities: Sequence[str], /) -> Looked:
        """The same in real time: it may be cancelled at any moment, and then be asked again. Raises StoreDown."""
        ...

    async def aclose(self) -> None:
        """Gives up what it holds of connections; whoever asks again gets new ones."""
        ...


class FeatureSink(Protocol):
    """A store that can be loaded."""

    def put(self, view: str, rows: Sequence[FeatureRow], /) -> None:
        """Keeps rows, each as a whole; what is looked up is never replaced by an older row. Raises StoreDown."""
        ...

    def views(self) -> Iterator["ViewStats"]:
        """What it holds, by view; raises StoreDown."""
        ...


class ViewStats(NamedTuple):
    """How many entities a view has, and the earliest and latest event time of what is looked up, in ns since 1970."""

    view: str
    entities: int
    earliest_ns: int
    latest_ns: int


class Sink(Protocol):
    """Where decisions are kept."""

    def write(self, decisions: Decisions, /) -> None:
        """Durable on return against the death of this process; raises RecordRefused."""
        ...

    def unsent(self, decisions: Decisions, /) -> None:
        """Marks written decisions whose answer never left."""
        ...

    def failed(self, author: Author, base: int, time_ns: int, kind: str, entities: Sequence[bytes], /) -> None:
        """Keeps that a version did not score a request, and why: `raised`, `not_finite`, `overran`, `died`.

        Or `degraded`: any of these but the last, where features were missing, so that it counts for nothing.
        """
        ...


class Record(Protocol):
    """Where decisions are found again."""

    def get(self, decision_id: int, /) -> Decisions | None:
        """The decision with this id, as decisions of one row; None where there is none."""
        ...

    def iterate(self, model: str = "", /) -> Iterator[Decisions]:
        """Every decision of a model, or of all of them."""
        ...


class Verifier(Protocol):
    """Says whether trusted keys vouch for a set of files."""

    def verify(self, signature: bytes, digests: dict[str, str], /) -> str:
        """The fingerprint of the key that signed exactly these SHA-256 digests by path; raises SignatureRefused."""
        ...
