"""Quote tokens: what is signed holds, and nothing else does."""

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.errors import QuoteRefused, RolloutRefused
from scoreline.core.manifest import NAME
from scoreline.rollout.quotes import DAY_S, Quote, QuoteSigner, QuoteVerifier

SIGNER = QuoteSigner(bytes(range(32)))
OTHER = QuoteSigner(bytes(range(1, 33)))
VERIFIER = QuoteVerifier([OTHER.public, SIGNER.public])
NOW = 1_790_000_000
SUBJECT = bytes(range(100, 116))
QUOTE = Quote(SUBJECT, "motor-2", "ab" * 32, NOW + 30 * DAY_S)
TOKEN = SIGNER.sign(QUOTE, NOW)
ALPHABET = string.ascii_letters + string.digits + "-_"


def read(token: str, now_s: int = NOW) -> Quote:
    return VERIFIER.read(token, SUBJECT, "motor-2", now_s)


@given(
    st.binary(min_size=16, max_size=16),
    st.from_regex(NAME, fullmatch=True),
    st.binary(min_size=32, max_size=32),
    st.integers(1, 30 * DAY_S),
)
def test_what_was_signed_is_read_again(subject: bytes, model: str, digest: bytes, lasts_s: int) -> None:
    quote = Quote(subject, model, digest.hex(), NOW + lasts_s)
    token = SIGNER.sign(quote, NOW)
    assert set(token) <= set(ALPHABET)
    assert VERIFIER.read(token, subject, model, NOW) == quote


def test_a_token_reads_the_same_for_ever() -> None:
    assert len(TOKEN) == 171
    assert TOKEN.startswith("AWRlZmdoaWprbG1ub3BxcnOrq6urq6ur")
    assert read(TOKEN) == QUOTE


def test_a_token_altered_at_any_character_is_refused() -> None:
    for place, there in enumerate(TOKEN):
        for char in (ALPHABET[(ALPHABET.index(there) + step) % 64] for step in (1, 2, 4, 8, 16, 32)):
            with pytest.raises(QuoteRefused):
                read(TOKEN[:place] + char + TOKEN[place + 1 :])
        with pytest.raises(QuoteRefused):
            read(TOKEN[:place] + TOKEN[place + 1 :])
        with pytest.raises(QuoteRefused):
            read(TOKEN[:place] + "A" + TOKEN[place:])


@given(st.text(max_size=500) | st.text(ALPHABET + "=+/ \n", max_size=500))
def test_what_is_no_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(QuoteRefused) as refused:
        read(text)
    assert str(refused.value) == "this is no quote token; send it exactly as it was given"


@pytest.mark.parametrize("text", (TOKEN + "=", TOKEN + "\n", " " + TOKEN, TOKEN.replace("A", "\uff21", 1)))
def test_a_token_has_one_way_to_be_written(text: str) -> None:
    with pytest.raises(QuoteRefused, match="no quote token"):
        read(text)


def test_every_reason_has_words_of_its_own_and_no_values() -> None:
    reasons = {}
    for name, ask in {
        "key": lambda: QuoteVerifier([OTHER.public]).read(TOKEN, SUBJECT, "motor-2", NOW),
        "no key": lambda: QuoteVerifier([]).read(TOKEN, SUBJECT, "motor-2", NOW),
        "model": lambda: VERIFIER.read(TOKEN, SUBJECT, "motor", NOW),
        "subject": lambda: VERIFIER.read(TOKEN, SUBJECT[::-1], "motor-2", NOW),
        "nobody": lambda: VERIFIER.read(TOKEN, b"", "motor-2", NOW),
        "expired": lambda: read(TOKEN, QUOTE.expires_s),
    }.items():
        with pytest.raises(QuoteRefused) as refused:
            ask()
        reasons[name] = str(refused.value)
        assert not any(value in reasons[name] for value in ("motor-2", "abab", TOKEN[:8], str(QUOTE.expires_s)))
    assert reasons["key"] == reasons["no key"] and reasons["subject"] == reasons["nobody"]
    assert len(set(reasons.values())) == 4
    assert read(TOKEN, QUOTE.expires_s - 1) == QUOTE


def test_a_quote_is_for_somebody_and_lasts_30_days_at_most() -> None:
    for expires_s in (NOW - 1, NOW, NOW + 30 * DAY_S + 1):
        with pytest.raises(RolloutRefused, match="at most 30 days"):
            SIGNER.sign(replace(QUOTE, expires_s=expires_s), NOW)
    for subject in (b"", SUBJECT[:15], SUBJECT + b"x"):
        with pytest.raises(RolloutRefused, match="say the entity"):
            SIGNER.sign(replace(QUOTE, subject=subject), NOW)


def test_what_another_part_signed_with_the_same_key_is_no_quote() -> None:
    from base64 import urlsafe_b64decode, urlsafe_b64encode

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    body = urlsafe_b64decode(TOKEN + "=")[:-64]
    forged = body + Ed25519PrivateKey.from_private_bytes(bytes(range(32))).sign(body)
    with pytest.raises(QuoteRefused, match="altered, or of a key"):
        read(urlsafe_b64encode(forged).rstrip(b"=").decode())
