"""Every metric once: its name, kind, labels and meaning. docs/metrics.md is written from this table.

Names follow Prometheus: base units, counters shown with `_total`. No label has more values than models, their latest
versions, fields and the kinds named in the docs: none carries an id, a caller or an address.
"""

from dataclasses import dataclass
from typing import Final

PREFIX: Final = "scoreline_"
COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
INFO: Final = "info"
# Of the histograms of time, in seconds.
BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.14, 0.2, 0.25, 0.5, 1.0, 2.5)
BY_ROLE: Final = ("model", "version", "role")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as it is told: `name` without the prefix and without what its kind puts behind it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str

    @property
    def shown(self) -> str:
        """The name as queries have it; a histogram has `_bucket`, `_sum` and `_count` behind it."""
        return PREFIX + self.name + {COUNTER: "_total", INFO: "_info"}.get(self.kind, "")


METRICS: Final = (
    Metric("requests", COUNTER, BY_ROLE, "Requests answered with predictions, as recorded."),
    Metric("predictions", COUNTER, BY_ROLE, "Rows decided, as recorded."),
    Metric("unsent", COUNTER, BY_ROLE, "Requests decided whose answer never left: the client went, or its connection."),
    Metric("failures", COUNTER, (*BY_ROLE, "kind"), "Requests a version did not score: raised, overran, died, ..."),
    Metric("outcomes", COUNTER, (*BY_ROLE, "outcome"), "Rows by the outcome of the threshold policy."),
    Metric("request_seconds", HISTOGRAM, (*BY_ROLE, "part"), "Time of answered requests: features, model and total."),
    Metric("score", HISTOGRAM, (*BY_ROLE, "output"), "Scores, by output; the mean is `_sum` over `_count`."),
    Metric("high_scores", COUNTER, BY_ROLE, "Rows at or above the highest threshold, or the reference's ninth decile."),
    Metric("high_scores_expected_ratio", GAUGE, ("model", "version"), "The share of high scores in the reference."),
    Metric("defaulted", COUNTER, BY_ROLE, "Rows in which a field took its default."),
    Metric("degraded", COUNTER, BY_ROLE, "Rows in which the feature store failed a field."),
    Metric("defaulted_fields", COUNTER, ("model", "field"), "Defaults taken, by field."),
    Metric("degraded_fields", COUNTER, ("model", "field"), "Fields the feature store failed."),
    Metric("unrecorded", COUNTER, (), "Rows answered without a record, where `records.on_full` allows that."),
    Metric("refusals", COUNTER, ("model", "kind", "fault"), "Requests refused, by the kinds of docs/errors.md."),
    Metric("repeated", COUNTER, ("model",), "Requests answered again under their idempotency key."),
    Metric("rate_limited", COUNTER, ("limit",), "Requests over a rate limit."),
    Metric("bundles_refused", COUNTER, ("kind",), "Bundles this host did not take: signature, self-test, form."),
    Metric("process_ends", COUNTER, ("process",), "Processes of the service that died and were replaced."),
    Metric("process_cpu_seconds", COUNTER, ("process",), "Processor time of each process that runs now."),
    Metric("process_resident_bytes", GAUGE, ("process",), "Memory of each process that runs now."),
    Metric("ready", GAUGE, (), "1 while this steward serves, 0 while it drains."),
    Metric("build", INFO, ("version",), "The version of Scoreline."),
    Metric("bundle", INFO, ("model", "version", "digest", "role"), "Which bundles answer on this host, and as what."),
    Metric(
        "budget_seconds", GAUGE, ("model", "part"), "The latency budget: features, model, and total without network."
    ),
    Metric("spool_lag_bytes", GAUGE, (), "Bytes of the record that these metrics have not counted yet."),
    Metric("spool_segments", GAUGE, (), "Files of the record on this host."),
    Metric("ship_lag_bytes", GAUGE, (), "Bytes of the record that are not in the database yet."),
    Metric("ship_age_seconds", GAUGE, (), "Time since the database last took all there was, or could be asked."),
    Metric("ship_refused_segments", GAUGE, (), "Files of the record that the database does not take."),
    Metric("ship_damaged_segments", GAUGE, (), "Files of the record that cannot be read to their end."),
    Metric("shipped", COUNTER, (), "Rows this steward has shipped."),
    Metric("database_up", GAUGE, (), "1 where the database could be asked at the last attempt."),
    Metric("checkpoint_age_seconds", GAUGE, (), "Time since this steward last signed a checkpoint; none: never."),
    Metric("leads", GAUGE, ("lease",), "1 on the one host that acts for all: controller, keeper."),
    Metric("rollout_share_ratio", GAUGE, ("model", "version"), "The share of the canary that is under way."),
    Metric("rollout_state", GAUGE, ("model", "state"), "1 for the state a rollout is in."),
    Metric("rollout_evidence", GAUGE, ("model", "claim", "rule"), "E-values of a canary, where the controller runs."),
    Metric("rollout_evidence_needed", GAUGE, ("model", "claim"), "The e-value at which the controller acts."),
    Metric("drift_evidence", GAUGE, ("model", "version", "subject"), "Evidence of drift; subject: empty is the whole."),
    Metric("drift_evidence_needed", GAUGE, ("model",), "The evidence that is an alarm."),
    Metric("drift_open", GAUGE, ("model", "version"), "1 while an incident of drift is open."),
    Metric("shadow_lag_bytes", GAUGE, ("model", "version"), "Bytes of the record a challenger has not scored yet."),
    Metric("shadow_missed", COUNTER, ("model", "version"), "Decisions a challenger could not score."),
    Metric("notices", COUNTER, ("told",), "Notices to the webhook: told, and given up."),
)
BY_NAME: Final = {metric.name: metric for metric in METRICS}
