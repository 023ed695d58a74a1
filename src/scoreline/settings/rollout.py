"""`[rollout]` and `[notify]`: how a new version is proven, and who is told."""

import dataclasses
from dataclasses import dataclass

from scoreline.core.budget import Budgets
from scoreline.core.errors import SettingError
from scoreline.rollout.policy import Policy
from scoreline.settings.option import option
from scoreline.settings.urls import is_safe


@dataclass(frozen=True, slots=True)
class Rollout:
    """Every name is one of `rollout.policy.Policy`, which knows the ranges; a test holds the defaults equal."""

    steps: tuple[float, ...] = option(
        (0.01, 0.1, 0.5, 1.0), "Shares of the traffic a canary answers, one after another."
    )
    min_step_s: int = option(600, "A step lasts at least this long.")
    min_requests: int = option(500, "Entities, or requests that name none, a canary answers at least in each step.")
    silence_s: int = option(600, "A canary that has answered nothing for so long is held until it does.")
    horizon_s: int = option(1_209_600, "A step that has come to no verdict by then is held, and a person is told.")
    max_requests: int = option(1_000_000, "The same, in entities or requests that the canary has answered in the step.")
    alpha_rollback: float = option(
        0.01, "How likely a version that does no harm is rolled back, however often one looks."
    )
    alpha_advance: float = option(0.05, "How likely a version that does harm (`r1` and `p_tol`) goes a step further.")
    r1: float = option(2.0, "Harm: this many times the events of the champion, or more ...")
    p_tol: float = option(0.01, "... with this share of requests, or more, that have the event.")
    slow_ratio: float = option(1.5, "How many times as often the canary may be slower than the champion's p99.")
    score_ratio: float = option(1.5, "How many times as many, or as few, high scores a canary may give.")
    hold_back: float = option(0.0, "Share of the traffic the champion keeps until a person promotes the canary.")
    needs_approval: str = option(
        "none", "Before which step somebody other than the sealer approves: `none`, `first` or `last`."
    )
    shadow_gate: str = option(
        "outcomes", "What lets a version out of shadow: `outcomes`, `agreement` and an approval, or `none`."
    )
    alpha_shadow: float = option(0.01, "How likely a claim of shadow (BETTER, SAFE, WORSE) is false.")
    delta: float = option(0.005, "SAFE: the mean loss is at most this much higher than the champion's.")
    loss: str = option("brier", "What scores are held against outcomes by: `brier`, `log`, or `cost` with `costs`.")
    costs: tuple[str, ...] = option((), "What wrong outcomes cost, as `decline/0=25`: OUTCOME/ACTUAL=COST.")
    segment: str = option("", "A field: shadow is told for each of its words, or each quarter of its numbers, too.")
    hang_ms: int = option(
        1000,
        "A worker whose canary has not scored a request by then is ended and started anew; "
        "a request of many rows has `latency.model_ms` more for each further one.",
    )
    quote_days: int = option(
        0, "How long a quote token pins its version, which stays loaded; at most 30; 0: none are made."
    )
    quotes_on_rollback: str = option("honour", "What happens to quotes of a version rolled back: `honour` or `refuse`.")
    alias_moved: str = option(
        "shadow", "What an alias that someone moved asks for: `shadow`, `serve` at once, or `ignore` it."
    )

    def __post_init__(self) -> None:
        policy_of(self, Budgets())


@dataclass(frozen=True, slots=True)
class Notify:
    webhook: str = option(
        "",
        "URL that is told of rollouts and of drift, in JSON that Slack takes; https, or http on loopback.",
        secret=True,
    )
    secret: str = option("", "Secret that notifications are signed with, at least 24 characters.", secret=True)

    def __post_init__(self) -> None:
        if self.webhook and not is_safe(self.webhook):
            raise SettingError("notify.webhook: an https URL, or http to 127.0.0.1, [::1] or localhost")
        if bool(self.webhook) != bool(self.secret):
            raise SettingError("notify.webhook and notify.secret go together: what is told is signed")
        if self.secret and (len(self.secret) < 24 or not self.secret.isascii()):
            raise SettingError("notify.secret: at least 24 characters, ASCII only; `openssl rand -hex 24` makes one")


def policy_of(rollout: Rollout, budgets: Budgets) -> Policy:
    """The policy these settings make; raises SettingError."""
    return Policy(**dataclasses.asdict(rollout), budgets=budgets)
