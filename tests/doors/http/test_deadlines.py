"""By when a request is to be answered, who is believed about its age, and what is refused at once."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inprocess import PATIENT, Kept, ask

from atonce import AtOnce
from scoreline.access.keyring import Keyring
from scoreline.core.batch import Batch
from scoreline.core.budget import Budget
from scoreline.core.errors import Malformed, TooLate
from scoreline.core.scorer import Scorer
from scoreline.doors.http.app import App
from scoreline.doors.http.deadlines import PROBES, Deadlines, age_ns
from scoreline.doors.http.door import Door
from scoreline.doors.http.expected import REMEMBERED_NS, SAMPLE_NS, Expected
from scoreline.doors.http.served import serve_model
from scoreline.engines.load import load_engine
from scoreline.records.spool import recorded
from service import SealedModel

MS = 1_000_000
SEALED = {"row_p99_us": 40.0, "bulk_rows_per_s": 100_000}
PROXY = ("10.0.0.1", 1234)


def deadlines(measured: dict[str, object] | None = None, **budget: int) -> Deadlines:
    return Deadlines("fraud", Budget(**budget), measured or {}, lambda peer: peer == PROXY[0])


def test_without_a_word_of_the_caller_the_budget_less_the_networks_share_counts() -> None:
    assert deadlines().until_ns({}, 7, None) == 7 + 150 * MS


@given(st.integers(0, 10**9 - 1))
def test_a_caller_can_only_shorten_it(left_ms: int) -> None:
    headers = {b"x-deadline-ms": b"%d" % left_ms}
    assert deadlines().until_ns(headers, 7, None) == 7 + min(left_ms, 150) * MS


@pytest.mark.parametrize("given", (b"", b"-1", b"1.5", b"1e3", b"soon", b"9" * 10))
def test_a_deadline_that_is_no_number_is_told(given: bytes) -> None:
    with pytest.raises(Malformed, match="X-Deadline-Ms: whole milliseconds"):
        deadlines().until_ns({b"x-deadline-ms": given}, 0, None)


def test_only_a_trusted_proxy_is_believed_about_the_age() -> None:
    headers = {b"x-request-start": b"t=%.3f" % (time.time() - 60.0)}
    assert deadlines().until_ns(headers, 0, ("10.9.9.9", 1)) == 150 * MS
    assert deadlines().until_ns(headers, 0, None) == 150 * MS
    assert deadlines().until_ns(headers, 0, PROXY) == pytest.approx(150 * MS - 60 * 1000 * MS, abs=5000 * MS)
    nobody_is = Deadlines("fraud", Budget(), {})
    assert nobody_is.until_ns(headers, 0, PROXY) == 150 * MS


@given(st.floats(0.001, 3000.0), st.sampled_from(("t=%.3f", "%.3f", "ms", "us", "ns", "t=us")))
def test_the_age_is_read_as_nginx_and_heroku_write_it(age_s: float, form: str) -> None:
    now_s = 1_795_000_000.0
    scale = {"ms": 1e3, "us": 1e6, "ns": 1e9, "t=us": 1e6}.get(form)
    text = form % (now_s - age_s) if scale is None else f"{'t=' * form.startswith('t=')}{int((now_s - age_s) * scale)}"
    assert age_ns(text.encode(), now_s) == pytest.approx(age_s * 1e9, abs=1.1e6)


@pytest.mark.parametrize("given", (b"", b"t=", b"nan", b"inf", b"-inf", b"yesterday", b"0", b"t=1e400", b"1795000001"))
def test_an_age_that_cannot_be_is_none(given: bytes) -> None:
    assert age_ns(given, 1_795_000_000.0) == 0


def test_what_was_sealed_counts_until_this_worker_has_seen_for_itself() -> None:
    expected = Expected(SEALED)
    assert expected.of(1, 0) == 40_000
    assert expected.of(1001, 0) == 40_000 + 1000 * 10_000
    for at in range(100):
        expected.took(1, 2 * MS, at * SAMPLE_NS)
    assert expected.of(1, 100 * SAMPLE_NS) == 2 * MS
    assert expected.of(1001, 100 * SAMPLE_NS) == 40_000 + 1000 * 10_000, "of so many rows it has seen none"
    assert expected.of(1, 100 * SAMPLE_NS + REMEMBERED_NS) == 40_000, "it has forgotten"


@pytest.mark.parametrize(
    "measured", ({}, {"row_p99_us": "fast"}, {"row_p99_us": -1, "bulk_rows_per_s": 0}, {"row_p99_us": None})
)
def test_a_manifest_that_says_nothing_of_the_kind_lets_everything_in(measured: dict[str, object]) -> None:
    assert Expected(measured).of(1000, 0) == 0


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=50))
def test_the_median_of_the_last_ten_seconds_counts(times: list[int]) -> None:
    expected, begin = Expected({}), 5 * REMEMBERED_NS
    expected.took(1, 10**12, 0)
    for at, took in enumerate(times):
        expected.took(1, took, begin + at * SAMPLE_NS)
    seen = expected.of(1, begin + len(times) * SAMPLE_NS)
    assert min(times) <= seen <= max(times)


def test_what_cannot_be_in_time_is_refused_but_for_one_in_a_hundred() -> None:
    slow, let_in = deadlines({"row_p99_us": 500_000.0}), 0
    for _ in range(10 * PROBES):
        try:
            slow.check(1, time.perf_counter_ns() + 150 * MS)
        except TooLate as refused:
            assert refused.retry_after_s == 1
        else:
            let_in += 1
    assert let_in == 10


def test_what_is_late_already_is_no_probe() -> None:
    for _ in range(2 * PROBES):
        with pytest.raises(TooLate):
            deadlines(SEALED).check(1, time.perf_counter_ns() - 1)


def test_a_model_that_has_become_fast_is_let_in_again() -> None:
    found = deadlines({"row_p99_us": 500_000.0})
    for _ in range(3):
        try:
            found.check(1, time.perf_counter_ns() + 150 * MS)
        except TooLate:
            continue
        found.expected.took(1, 50_000, time.perf_counter_ns())
    for _ in range(2 * PROBES):
        found.check(1, time.perf_counter_ns() + 150 * MS)


def test_who_is_late_after_its_features_were_looked_up_is_told_so_and_not_decided(sealed: SealedModel) -> None:
    class Busy:
        """The features were there in time; this process was not."""

        async def in_time(self, batch: Batch) -> Batch:
            time.sleep(0.4)
            return batch

    kept, bundle = Kept(), sealed.bundle
    score = recorded(Scorer(bundle.manifest, load_engine(bundle)), kept)
    looking: Any = lambda schema: Busy()  # noqa: E731
    door = Door(10_000, AtOnce())
    door.open({"fraud": serve_model(bundle.manifest, score, 50, budget=PATIENT, looking=looking)}, "fraud", Keyring())
    app = App(door, door)  # type: ignore[arg-type]
    late = ask(app, "POST", "/predict", b'{"amount": 5000.0}', x_deadline_ms="300")
    assert (late.status_code, late.json()["type"], kept.decisions) == (503, "/errors/deadline", [])
    assert ask(app, "POST", "/predict", b'{"amount": 5000.0}').status_code == 200
