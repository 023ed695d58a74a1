"""What people are notified of: entries of the ledger and of incidents of drift, as JSON that Slack takes, signed.

The signature is `v1=` and the hex of HMAC-SHA256, by the secret, of `v1:`, the time, `:` and the body: who checks it,
and that the time is of the last minutes, knows that it is from here and not sent again by others.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scoreline.drift.words import leading
from scoreline.operations.maturity import utc
from scoreline.records.database import Database
from scoreline.records.drift import BEGIN, Incident, incidents_of
from scoreline.records.ledger import Entry, following
from scoreline.records.notified import OF_DRIFT, OF_LEDGER, Cursor
from scoreline.rollout.stages import Stage

TOLD: Final = ("advance", "hold", "roll_back", "promote")
TIME_HEADER: Final = "X-Scoreline-Timestamp"
SIGNATURE_HEADER: Final = "X-Scoreline-Signature"
_DRIFT_ACTIONS: Final = ("drift_over", "drift")
_ESCAPED: Final = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))  # the three that Slack gives a meaning


@dataclass(frozen=True, slots=True)
class News:
    """An entry that may be told: what it is called where it cannot be, and its body; None: it is no news."""

    model: str
    seq: int
    at_ns: int
    action: str
    name: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Feed:
    """One log that is told of: how far it was, and its entries behind a number, the oldest first."""

    cursor: Cursor
    behind: Callable[[Database, str, int, int], Sequence[News]]


def notice(entry: Entry) -> bytes:
    """The body: `text` for people, and the entry's own facts."""
    stage = Stage.from_json(entry.stage)
    facts = {
        "text": _escaped(f"{entry.model}: {_words(entry)}; {_stands(stage)}"),
        "model": entry.model,
        "seq": entry.seq,
        "at": utc(entry.at_ns),
        "action": entry.action,
        "who": entry.who,
        "why": entry.why,
        "champion": stage.champion.version,
        "canary": stage.canary.version if stage.canary else None,
        "share": stage.share,
        "state": stage.state,
        "evidence": dict(entry.evidence),
    }
    return json.dumps(facts, ensure_ascii=False).encode()


def drift_notice(incident: Incident) -> bytes:
    """The body: `text` for people, and the facts of an incident's beginning or end."""
    says = f"drift: {leading(incident.evidence)}" if incident.action == BEGIN else f"drift is over: {incident.why}"
    facts = {
        "text": _escaped(f"{incident.model}: {says}; version {incident.version}"),
        "model": incident.model,
        "seq": incident.seq,
        "at": utc(incident.at_ns),
        "action": _DRIFT_ACTIONS[incident.action == BEGIN],
        "version": incident.version,
        "digest": incident.digest,
        "why": incident.why,
        "evidence": dict(incident.evidence),
    }
    return json.dumps(facts, ensure_ascii=False).encode()


def signed(secret: str, body: bytes, now_s: int) -> Mapping[str, str]:
    """The headers that say when, and by whom."""
    made = hmac.new(secret.encode(), b"v1:%d:%b" % (now_s, body), hashlib.sha256).hexdigest()
    return {TIME_HEADER: str(now_s), SIGNATURE_HEADER: f"v1={made}"}


def _words(entry: Entry) -> str:
    why = f": {entry.why}" if entry.why else ""
    return f"{entry.action.replace('_', ' ')} by {entry.who}{why}"


def _stands(stage: Stage) -> str:
    if stage.canary is None:
        return f"version {stage.champion.version} answers"
    return (
        f"version {stage.canary.version} answers {stage.share * 100:.4g} %, version {stage.champion.version} the rest"
    )


def _escaped(text: str) -> str:
    for mark, word in _ESCAPED:
        text = text.replace(mark, word)
    return text


def _of_ledger(database: Database, model: str, seq: int, limit: int) -> Sequence[News]:
    return [
        News(
            model, entry.seq, entry.at_ns, entry.action, f"entry {entry.seq} of {model}",
            notice(entry) if entry.action in TOLD else None,
        )
        for entry in following(database, model, seq, limit)
    ]  # fmt: skip


def _of_drift(database: Database, model: str, seq: int, limit: int) -> Sequence[News]:
    return [
        News(model, each.seq, each.at_ns, each.action, f"drift {each.seq} of {model}", drift_notice(each))
        for each in incidents_of(database, model, seq, limit)
    ]


FEEDS: Final = (Feed(OF_LEDGER, _of_ledger), Feed(OF_DRIFT, _of_drift))
