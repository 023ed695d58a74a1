"""What people are notified of: an entry of the ledger as JSON that Slack takes, signed.

The signature is `v1=` and the hex of HMAC-SHA256, by the secret, of `v1:`, the time, `:` and the body: who checks it,
and that the time is of the last minutes, knows that it is from here and not sent again by others.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Final

from scoreline.operations.maturity import utc
from scoreline.records.ledger import Entry
from scoreline.rollout.stages import Stage

TOLD: Final = ("advance", "hold", "roll_back", "promote")
TIME_HEADER: Final = "X-Scoreline-Timestamp"
SIGNATURE_HEADER: Final = "X-Scoreline-Signature"
_ESCAPED: Final = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))  # the three that Slack gives a meaning


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
