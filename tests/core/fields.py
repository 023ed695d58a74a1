"""Any valid field, for properties of schemas and manifests."""

import math
from typing import Any

from hypothesis import strategies as st

from scoreline.core.schema import Field

texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)

words_of_views = texts.filter(lambda text: ":" not in text)


@st.composite
def some_fields(draw: st.DrawFn, name: st.SearchStrategy[str] = texts) -> Field:
    """Any field that is not in contradiction with itself."""
    kind = draw(st.sampled_from(["number", "integer", "boolean", "category"]))
    settings: dict[str, Any] = {"nullable": draw(st.booleans()), "sensitive": draw(st.booleans())}
    settings |= {word: draw(st.just("") | texts) for word in ("unit", "description", "reason")}
    defaults: st.SearchStrategy[Any]
    if kind == "category":
        words = draw(
            st.lists(texts, min_size=1, max_size=5, unique=True)
            | st.lists(st.integers(-(2**60), 2**60), min_size=1, max_size=5, unique=True)
        )
        settings |= {"categories": tuple(words), "unseen": draw(st.sampled_from(["refuse", "missing"]))}
        defaults = st.sampled_from(words)
    elif kind == "boolean":
        defaults = st.booleans()
    else:
        low, high = sorted(draw(st.tuples(st.integers(-10_000, 10_000), st.integers(-10_000, 10_000))))
        settings["minimum"] = draw(st.none() | st.just(float(low)))
        settings["maximum"] = draw(st.none() | st.just(float(high)))
        defaults = st.integers(low, high)
        if kind == "number":
            defaults |= st.floats(low, high)
    settings["default"] = draw(st.none() | st.just(math.nan) | defaults)
    settings["source"] = "request" if settings["default"] is None else draw(st.sampled_from(["request", "store"]))
    if settings["source"] == "store":
        settings |= {"view": draw(st.just("") | words_of_views), "feature": draw(st.just("") | texts)}
        settings["max_age_s"] = draw(st.none() | st.integers(1, 10**9) | st.floats(0.001, 1e9))
        settings["indispensable"] = isinstance(settings["default"], float) and math.isnan(settings["default"])
    return Field(draw(name), kind, **settings)
