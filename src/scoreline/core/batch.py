"""A batch: rows that have passed the schema, as the engines take them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from scoreline.core.link import Floats


@dataclass(slots=True)
class Context:
    """Who asks, and under which request: the same for all rows of a batch. Nobody changes it once it is made.

    `time_ns` is the moment of take-up, in nanoseconds since 1970. `pin` is the digest of the version that must answer,
    where it is loaded; it is not recorded, the decision's author is. `deadline_ns` is when the answer must leave, by
    `time.perf_counter_ns` of this process (0: whenever), and not recorded either. `trace` is the id of a W3C trace, and
    `parent` the span in it that asks and its flags, as `traceparent` has them.
    """

    time_ns: int
    request_id: str = ""
    caller: str = ""
    trace: str = ""
    pin: str = ""
    deadline_ns: int = field(default=0, compare=False)
    parent: str = field(default="", compare=False)


NO_DEFAULTS: Final[Mapping[int, tuple[int, ...]]] = {}


@dataclass(slots=True)
class Batch:
    """Rows ready to score. Nobody changes them; only creation speed keeps it from being frozen.

    `values`: float64 (n_rows, n_fields), C order, schema order; categories as codes, missing as NaN.
    `defaulted`: for the rows that took a default, the positions of those fields.
    `degraded`: for the rows that need it, the positions of fields for which the feature store did not answer in time,
    or with a value too old: what stands there was looked up earlier, or is the default.
    `entities`: whom each row is about (empty: it does not say), or nothing for all rows.
    """

    values: Floats
    context: Context
    defaulted: Mapping[int, Sequence[int]]
    entities: Sequence[str] = ()
    degraded: Mapping[int, Sequence[int]] = field(default_factory=lambda: NO_DEFAULTS)

    def __len__(self) -> int:
        return len(self.values)
