"""Quote tokens: a promise, signed with Ed25519, that a version goes on answering for one entity until a day.

A token is base64url, unpadded, of format (1 byte), subject (16), digest (32), expiry (8, seconds since 1970), the
model's name, and a signature (64) over what stands before it and what it is for.
"""

import struct
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from scoreline.core.errors import QuoteRefused, RolloutRefused
from scoreline.rollout.policy import MAX_QUOTE_DAYS

DAY_S: Final = 86_400
_FORMAT: Final = 1
_HEAD: Final = struct.Struct(">B16s32sQ")
_SUBJECT_BYTES: Final = 16
_SIGNATURE_BYTES: Final = 64
_MAX_LENGTH: Final = 400
_PURPOSE: Final = b"scoreline quote 1\n"


@dataclass(frozen=True, slots=True)
class Quote:
    """`digest` of `model` answers for `subject`, the keyed hash of an entity (16 bytes), before `expires_s`."""

    subject: bytes
    model: str
    digest: str
    expires_s: int


class QuoteSigner:
    """Makes tokens. `seed` is the secret: 32 random bytes."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, quote: Quote, now_s: int) -> str:
        """The token of a quote; raises RolloutRefused where it has no subject or would last too long."""
        if len(quote.subject) != _SUBJECT_BYTES:
            raise RolloutRefused("a quote needs to know whom it is for: say the entity with the row")
        if not now_s < quote.expires_s <= now_s + MAX_QUOTE_DAYS * DAY_S:
            raise RolloutRefused(f"a quote lasts at most {MAX_QUOTE_DAYS} days; see rollout.quote_days")
        head = _HEAD.pack(_FORMAT, quote.subject, bytes.fromhex(quote.digest), quote.expires_s)
        body = head + quote.model.encode()
        return _text(body + self._key.sign(_PURPOSE + body))


class QuoteVerifier:
    """Reads tokens that any of several public keys (32 bytes each) vouches for."""

    def __init__(self, publics: Iterable[bytes]) -> None:
        self._keys = [Ed25519PublicKey.from_public_bytes(public) for public in publics]

    def read(self, token: str, subject: bytes, model: str, now_s: int) -> Quote:
        """The quote of a token, for this entity and model, now; raises QuoteRefused."""
        body, signature = _parts(token)
        if not any(_vouches(key, signature, body) for key in self._keys):
            raise QuoteRefused("the quote is altered, or of a key that is not known here; ask for a new one")
        _, bound, digest, expires_s = _HEAD.unpack_from(body)
        quote = Quote(bound, body[_HEAD.size :].decode(), digest.hex(), expires_s)
        if quote.model != model:
            raise QuoteRefused("the quote is for another model")
        if quote.subject != subject:
            raise QuoteRefused("the quote is for another entity, or the row does not say whom it is about")
        if now_s >= quote.expires_s:
            raise QuoteRefused("the quote has expired; ask for a new one")
        return quote


def _parts(token: str) -> tuple[bytes, bytes]:
    """Body and signature. Each quote has one text: what decodes to the same but reads otherwise is refused."""
    try:
        raw = b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True) if _plausible(token) else b""
    except ValueError:
        raw = b""
    body, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    if len(body) <= _HEAD.size or body[0] != _FORMAT or _text(raw) != token:
        raise QuoteRefused("this is no quote token; send it exactly as it was given")
    return body, signature


def _plausible(token: str) -> bool:
    return len(token) <= _MAX_LENGTH and token.isascii()


def _vouches(key: Ed25519PublicKey, signature: bytes, body: bytes) -> bool:
    try:
        key.verify(signature, _PURPOSE + body)
    except InvalidSignature:
        return False
    return True


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
