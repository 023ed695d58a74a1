"""Our verifier and the `model-signing` library on what a forger would try next: forms, encodings, second signatures.

The first table is in tests/test_signing.py: keys, payloads, subjects, resources, types and files. Where the two differ
it is on purpose, and only one way: ours refuses what the library takes.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from test_signing import change, forge, ours, reroot, resource, signed_folder, theirs, write_key

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
Envelope = dict[str, Any]


def sig(edit: Callable[[bytes], bytes | str]) -> Callable[[Envelope, Path], None]:
    """Changes the signature's own bytes, or gives its base64 as a text."""

    def changed(envelope: Envelope, _: Path) -> None:
        found = edit(base64.b64decode(envelope["signatures"][0]["sig"]))
        envelope["signatures"][0]["sig"] = found if isinstance(found, str) else base64.b64encode(found).decode()

    return changed


def raw_form(der: bytes) -> bytes:
    """r and s beside each other, as JOSE writes them."""
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def other_half(der: bytes) -> bytes:
    """The other s that fits: ECDSA has two signatures of each message, and both are good."""
    r, s = decode_dss_signature(der)
    return encode_dss_signature(r, ORDER - s)


def numbers(r: int, s: int) -> Callable[[bytes], bytes]:
    return lambda _: encode_dss_signature(r, s)


def again(private: Path, message: bytes, algorithm: hashes.HashAlgorithm) -> str:
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return base64.b64encode(key.sign(message, ec.ECDSA(algorithm))).decode()


def pae(envelope: Envelope) -> bytes:
    kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def of_hash(algorithm: hashes.HashAlgorithm) -> Callable[[Envelope, Path], None]:
    def signed(envelope: Envelope, private: Path) -> None:
        envelope["signatures"][0]["sig"] = again(private, pae(envelope), algorithm)

    return signed


def without_pae(envelope: Envelope, private: Path) -> None:
    """The payload signed as it is, without DSSE's own encoding around it."""
    payload = base64.b64decode(envelope["payload"])
    envelope["signatures"][0]["sig"] = again(private, payload, hashes.SHA256())


def by_ed25519(envelope: Envelope, _: Path) -> None:
    signed = ed25519.Ed25519PrivateKey.generate().sign(pae(envelope))
    envelope["signatures"][0]["sig"] = base64.b64encode(signed).decode()


def payload(edit: Callable[[str], str]) -> Callable[[Envelope, Path], None]:
    return lambda envelope, _: envelope.update(payload=edit(envelope["payload"]))


def signed_payload(edit: Callable[[bytes], bytes]) -> Callable[[Envelope, Path], None]:
    """Another payload under a good signature of it."""

    def signed(envelope: Envelope, private: Path) -> None:
        envelope["payload"] = base64.b64encode(edit(base64.b64decode(envelope["payload"]))).decode()
        of_hash(hashes.SHA256())(envelope, private)

    return signed


GOOD: dict[str, Callable[[Envelope, Path], None]] = {
    "as it was signed": lambda envelope, _: None,
    "signed again": of_hash(hashes.SHA256()),
    "the other s": sig(other_half),
    "a key id that says nothing": lambda envelope, _: envelope["signatures"][0].update(keyid="anything"),
    "the same signature twice": lambda envelope, _: envelope["signatures"].append(dict(envelope["signatures"][0])),
    "two signatures, the second bad": lambda envelope, _: envelope["signatures"].append({"sig": "AAAA"}),
    "other spaces in the statement": signed_payload(lambda raw: json.dumps(json.loads(raw), indent=3).encode()),
}

BAD: dict[str, Callable[[Envelope, Path], None]] = {
    "r and s raw": sig(raw_form),
    "r and s in hexadecimal": sig(lambda der: raw_form(der).hex()),
    "r of zero": sig(numbers(0, 1)),
    "s of zero": sig(numbers(1, 0)),
    "both zero": sig(numbers(0, 0)),
    "both the order": sig(numbers(ORDER, ORDER)),
    "r and s of one": sig(numbers(1, 1)),
    "a negative s": sig(lambda der: b"\x30\x06\x02\x01\x01\x02\x01\xff"),
    "DER and a byte more": sig(lambda der: der + b"\0"),
    "DER cut": sig(lambda der: der[:-1]),
    "DER of a long length": sig(lambda der: b"\x30\x81" + der[1:]),
    "DER of an endless length": sig(lambda der: b"\x30\x80" + der[2:] + b"\0\0"),
    "a megabyte of zeros": sig(lambda der: bytes(1 << 20)),
    "base64 that is cut": sig(lambda der: base64.b64encode(der).decode()[:-5]),
    "base64 for URLs": sig(
        lambda der: base64.b64encode(der).decode().replace("+", "-").replace("/", "_")[:-4] + "-_--"
    ),
    "base64 without its padding": sig(
        lambda der: base64.b64encode(der + bytes(-len(der) % 3 or 1)).decode().rstrip("=")
    ),
    "base64 of nothing": sig(lambda der: ""),
    "a flipped bit": sig(lambda der: der[:-1] + bytes([der[-1] ^ 1])),
    "signed by SHA-384": of_hash(hashes.SHA384()),
    "signed by SHA-1": of_hash(hashes.SHA1()),
    "signed without DSSE's encoding": without_pae,
    "signed by Ed25519": by_ed25519,
    "no payload": lambda envelope, _: envelope.update(payload=""),
    "no payload member": lambda envelope, _: envelope.pop("payload"),
    "a payload cut": payload(lambda text: text[: len(text) // 2]),
    "no payload type": lambda envelope, _: envelope.pop("payloadType"),
    "no signatures member": lambda envelope, _: envelope.pop("signatures"),
    "an empty envelope": lambda envelope, _: envelope.clear(),
    "an unknown member of a signature": lambda envelope, _: envelope["signatures"][0].update(unknown=1),
    "a signature that is null": lambda envelope, _: envelope["signatures"][0].update(sig=None),
    "two signatures, the first bad": lambda envelope, _: envelope["signatures"].insert(0, {"sig": "AAAA"}),
    "a signed payload that is no JSON": signed_payload(lambda raw: b"secret"),
    "a signed payload of nothing": signed_payload(lambda raw: b""),
    "a signed payload that is a list": signed_payload(lambda raw: b"[]"),
    "a signed payload that is null": signed_payload(lambda raw: b"null"),
    "a signed payload of brackets": signed_payload(lambda raw: b"[" * 100_000),
}

# What the library takes all the same: its base64 passes over what is none, and its JSON guesses encodings.
STRICTER: dict[str, Callable[[Envelope, Path], None]] = {
    "base64 in lines": sig(lambda der: base64.encodebytes(der).decode()),
    "base64 and a blank": sig(lambda der: base64.b64encode(der).decode() + " "),
    "a payload in lines": payload(lambda text: base64.encodebytes(base64.b64decode(text)).decode()),
    "a payload and characters that are none": payload(lambda text: text[:8] + "!" + text[8:]),
    "a payload and another behind it": payload(lambda text: text + text),
    "a byte order mark before the statement": signed_payload(lambda raw: b"\xef\xbb\xbf" + raw),
    "a statement in UTF-16": signed_payload(lambda raw: raw.decode().encode("utf-16")),
    "NaN in the statement": signed_payload(lambda raw: raw.replace(b"{", b'{"x":NaN,', 1)),
}


def tampered(tmp_path: Path, edit: Callable[[Envelope, Path], None]) -> tuple[Path, Path]:
    folder, private, public = signed_folder(tmp_path)
    change(folder, lambda found: edit(found["dsseEnvelope"], private))
    return folder, public


@pytest.mark.parametrize("name", GOOD)
def test_good_form_is_taken_by_both(tmp_path: Path, name: str) -> None:
    folder, public = tampered(tmp_path, GOOD[name])
    assert (ours(folder, public), theirs(folder, public)) == (True, True)


@pytest.mark.parametrize("name", BAD)
def test_bad_form_is_refused_by_both(tmp_path: Path, name: str) -> None:
    folder, public = tampered(tmp_path, BAD[name])
    assert (ours(folder, public), theirs(folder, public)) == (False, False)


@pytest.mark.parametrize("name", STRICTER)
def test_ours_is_the_stricter_on_purpose(tmp_path: Path, name: str) -> None:
    """Nothing is signed anew by these: but a signature has one form of bytes, as a bundle has one manifest."""
    folder, public = tampered(tmp_path, STRICTER[name])
    assert (ours(folder, public), theirs(folder, public)) == (False, True)


@pytest.mark.parametrize("where", ("", "verificationMaterial", "verificationMaterial.publicKey", "dsseEnvelope"))
def test_unknown_member_is_refused_by_both(tmp_path: Path, where: str) -> None:
    folder, _, public = signed_folder(tmp_path)

    def add(found: dict[str, Any]) -> None:
        for name in filter(None, where.split(".")):
            found = found[name]
        found["unknown"] = 1

    change(folder, add)
    assert (ours(folder, public), theirs(folder, public)) == (False, False)


def test_a_statement_of_upper_case_digests_is_no_other_statement(tmp_path: Path) -> None:
    """A digest has one form, too: ours takes only the one that it computes itself."""
    folder, private, public = signed_folder(tmp_path)

    def upper(statement: dict[str, Any]) -> None:
        resource(statement, "model.ubj").update(digest=resource(statement, "model.ubj")["digest"].upper())
        reroot(statement)

    forge(folder, private, upper)
    assert not ours(folder, public)


def test_the_hint_alone_vouches_for_nothing(tmp_path: Path) -> None:
    """A stranger signs and gives the fingerprint of a trusted key."""
    folder, _, public = signed_folder(tmp_path)
    stranger, _ = write_key(tmp_path, "stranger", ec.generate_private_key(ec.SECP256R1()))
    forge(folder, stranger, lambda statement: None)
    assert (ours(folder, public), theirs(folder, public)) == (False, False)
