"""What every reader of trained models hands to the seal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from scoreline.core.link import Floats
from scoreline.core.schema import Unseen

Split = tuple[int, float]
Iterations = Literal["best", "all"]
Precision = Literal["float32", "float64"]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained model, read by its own library.

    `file` and `raw` are what goes into the bundle for the engine `kind`. `feature_names` is empty where the model has
    none; `categories` maps a feature's position to its categories in the trainer's order, None where the model knows it
    is categorical but not with which words; `fits` then says whether words proposed for a position agree with what the
    model does keep, None where it keeps nothing of them. `twin` is the same model as an ONNX graph, or None and
    `twin_reason` says why. `splits` are
    (position, threshold) pairs to probe; `slopes` are a linear model's weights, one row per output. `margins` and
    `scores` are the trainer's own library on float64 values (n_rows, n_features), shaped (n_rows, n_outputs).
    `precision` is in what the library compares a value with a threshold.

    `prepare` is a float64 graph that makes what the engine takes of the fields, None where it takes them as they are;
    `twin` then takes that too, and `sources` has the position of the field each column of it is made of. `margins` is
    None where the trainer's library has none of its own: then scores may lie
    apart by `tolerance` (of a score, or of 1 if that is more). `unseen` says of a category what a word never seen is to
    the trainer, empty where the trainer leaves that open; `refuses_missing` are positions where a missing value is an
    error to it. `as_given` are the trainer's scores of rows, given as values and as the frame they were read
    from, in whose types it computes; None where the library computes in the same type whatever it is given.
    """

    kind: str
    file: str
    raw: bytes
    n_features: int
    n_outputs: int
    link: str
    feature_names: tuple[str, ...]
    categories: Mapping[int, Sequence[str] | Sequence[int] | None]
    fits: Callable[[int, Sequence[Any]], bool | None]
    classes: tuple[str, ...]
    twin: bytes | None
    twin_reason: str
    splits: Sequence[Split]
    slopes: Sequence[Sequence[float]]
    margins: Callable[[Floats], Floats] | None
    scores: Callable[[Floats], Floats]
    precision: Precision = "float32"
    lineage: Mapping[str, Any] = field(default_factory=dict)
    prepare: bytes | None = None
    sources: tuple[int, ...] = ()
    tolerance: float = 0.0
    unseen: Mapping[int, Unseen] = field(default_factory=dict)
    refuses_missing: frozenset[int] = frozenset()
    as_given: Callable[[Floats, Any], Floats] | None = None
