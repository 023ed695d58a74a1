"""Quotes at the door: whoever was promised a version is answered by it, and whoever asks for a promise gets one.

`X-Quote: new` asks for one, which the answer brings in the same header; sent with a later request about the same entity
it pins the version that made it.
"""

from collections.abc import Collection, Mapping
from typing import Final

from scoreline.core.batch import Batch
from scoreline.core.decision import Decisions
from scoreline.core.entities import entity_hash
from scoreline.core.errors import QuoteRefused
from scoreline.rollout.quotes import DAY_S, Quote, QuoteSigner, QuoteVerifier

HEADER: Final = b"x-quote"
NEW: Final = b"new"
_NS: Final = 1_000_000_000


class Quoting:
    """The quotes of one model. `seed` signs them, `digests` are the versions here; with 0 `days` none are made."""

    def __init__(self, model: str, seed: bytes, entity_key: bytes, digests: Collection[str], days: int) -> None:
        self._model = model
        self._signer = QuoteSigner(seed)
        self._verifier = QuoteVerifier([self._signer.public])
        self._entity_key = entity_key
        self._digests = frozenset(digests)
        self._days = days

    def pin(self, headers: Mapping[bytes, bytes], batch: Batch) -> str:
        """The digest of the version that must answer; empty where no quote says so. Raises QuoteRefused."""
        given = headers[HEADER]
        if not self._days:
            raise QuoteRefused("no quotes are made here: rollout.quote_days says for how long they would hold")
        if given == NEW:
            self._subject(batch)
            return ""
        text = given.decode("ascii", "replace")
        quote = self._verifier.read(text, self._subject(batch), self._model, batch.context.time_ns // _NS)
        if quote.digest not in self._digests:
            raise QuoteRefused("the version of this quote answers no more; ask for a new one")
        return quote.digest

    def made(self, headers: Mapping[bytes, bytes], decisions: Decisions) -> bytes:
        """A new token for the version that answered, where one was asked for; else the one that was sent."""
        if headers[HEADER] != NEW:
            return headers[HEADER]
        now_s = decisions.context.time_ns // _NS
        quote = Quote(decisions.entities[0], self._model, decisions.author.digest, now_s + self._days * DAY_S)
        return self._signer.sign(quote, now_s).encode()

    def _subject(self, batch: Batch) -> bytes:
        """Whom all rows are about, as the record knows it."""
        entities = set(batch.entities)
        if len(entities) != 1 or "" in entities:
            raise QuoteRefused("a quote is for one entity: say with each row whom it is about, the same for all")
        return entity_hash(entities.pop(), self._entity_key)
