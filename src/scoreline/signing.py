"""Keys, and the one verifier of signatures.

The format is OpenSSF model signing (https://github.com/sigstore/model-transparency): a sigstore bundle with a DSSE
envelope (https://github.com/secure-systems-lab/dsse) over an in-toto statement of paths and digests, signed by an EC
key. The trainer's side signs with the `model-signing` library; this file verifies the same bytes without it, because
importing it costs 0.7 s.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from scoreline.core.errors import NotFound, SettingError, SignatureRefused
from scoreline.core.strictjson import strict_json

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# What a bundle may hold, from the outside in; the library refuses any other member, too.
_MEMBERS: Final = (
    {"mediaType", "verificationMaterial", "dsseEnvelope"},
    {"publicKey", "tlogEntries", "timestampVerificationData"},
    {"hint"},
    {"payloadType", "payload", "signatures"},
    {"keyid", "sig"},
)
_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}


def generate_keys(private: Path, public: Path) -> str:
    """Writes a new P-256 key pair as PEM, the private one readable by its owner only, and gives its fingerprint.

    Raises SettingError where one of the files exists: a key is never overwritten.
    """
    for path in (private, public):
        if path.exists():
            raise SettingError(f"{path} exists; a key is never overwritten: choose another name")
        path.parent.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    shared = _public_pem(key.public_key())
    for path, raw, mode in ((private, secret, 0o600), (public, shared, 0o644)):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            raise SettingError(f"{path} exists; a key is never overwritten: choose another name") from None
        with os.fdopen(fd, "wb") as file:
            file.write(raw)
    return hashlib.sha256(shared).hexdigest()


def public_pem_of(private: Path) -> bytes:
    """The public half of a private key file, as PEM; raises NotFound or SettingError."""
    return _public_pem(_load_private(_read_private(private), private.name).public_key())


class Signer:
    """A private EC key that signs what a service says of itself, as a DSSE envelope's payload is signed."""

    def __init__(self, pem: bytes) -> None:
        self._key = _load_private(pem, "the key")
        self.public_pem = _public_pem(self._key.public_key())
        self.fingerprint = hashlib.sha256(self.public_pem).hexdigest()

    @classmethod
    def from_file(cls, path: Path) -> "Signer":
        """The private key in a PEM file; raises NotFound or SettingError."""
        return cls(_read_private(path))

    def sign(self, kind: str, payload: bytes) -> bytes:
        """The signature (ECDSA, DER) over a payload of this kind."""
        return self._key.sign(_message(kind, payload), ec.ECDSA(_HASHES[self._key.curve.name]()))


class TrustStore:
    """The public keys whose signatures count, less the revoked ones, less revoked bundles. A `core.ports.Verifier`."""

    def __init__(
        self, pems: Iterable[bytes], revoked_keys: Iterable[str] = (), revoked_digests: Iterable[str] = ()
    ) -> None:
        self._keys: dict[str, ec.EllipticCurvePublicKey] = {}
        self._revoked_keys = _as_sha256(revoked_keys)
        self._revoked_digests = _as_sha256(revoked_digests)
        for pem in pems:
            key = _load_public(pem)
            self._keys[hashlib.sha256(_public_pem(key)).hexdigest()] = key

    @classmethod
    def from_files(
        cls, paths: Iterable[Path], revoked_keys: Iterable[str] = (), revoked_digests: Iterable[str] = ()
    ) -> "TrustStore":
        """The keys in these PEM files; raises NotFound or SettingError."""
        pems = []
        for path in paths:
            try:
                pems.append(path.read_bytes())
            except OSError:
                raise NotFound(f"no public key at {path}; `scoreline keygen` makes a pair") from None
        if not pems:
            raise SettingError("no trusted key: give the public key of who seals your models with --trust")
        return cls(pems, revoked_keys, revoked_digests)

    def verify(self, signature: bytes, digests: dict[str, str]) -> str:
        """The fingerprint of the key that signed exactly these SHA-256 digests by path; raises SignatureRefused."""
        try:
            fingerprint, payload = self._verified_payload(strict_json(signature))
            signed = _signed_digests(strict_json(payload))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise SignatureRefused("the signature is not a model signature this version reads") from None
        if signed != digests:
            changed = sorted(name for name in signed.keys() | digests.keys() if signed.get(name) != digests.get(name))
            raise SignatureRefused(f"signed for other bytes than these: {', '.join(changed[:3])}")
        if not self._revoked_digests.isdisjoint(digests.values()):
            raise SignatureRefused("this bundle is revoked")
        return fingerprint

    def vouches(self, fingerprint: str, kind: str, payload: bytes, signature: bytes) -> None:
        """Raises SignatureRefused unless the trusted key of this fingerprint signed a payload of this kind."""
        key = self._keys.get(fingerprint)
        if key is None or fingerprint in self._revoked_keys:
            what = "is not trusted" if key is None else "is revoked"
            raise SignatureRefused(f"key {fingerprint[:16]} {what}")
        if not _signed_by(key, signature, kind, payload):
            raise SignatureRefused("the signature does not fit the bytes it claims to sign")

    def _verified_payload(self, found: Mapping[str, Any]) -> tuple[str, bytes]:
        envelope, material = found["dsseEnvelope"], found["verificationMaterial"]
        signature, named = envelope["signatures"][0], material["publicKey"]
        if found["mediaType"] != MEDIA_TYPE or envelope["payloadType"] != PAYLOAD_TYPE:
            raise ValueError
        for kind, part in zip(_MEMBERS, (found, material, named, envelope, signature), strict=True):
            if not kind.issuperset(part):
                raise ValueError
        payload = _unbase64(envelope["payload"])
        raw = _unbase64(signature["sig"])
        hint = named.get("hint")
        candidates = [hint] if hint else list(self._keys)
        for fingerprint in candidates:
            key = self._keys.get(fingerprint)
            if key is not None and _signed_by(key, raw, PAYLOAD_TYPE, payload):
                if fingerprint in self._revoked_keys:
                    raise SignatureRefused(f"key {fingerprint[:16]} is revoked")
                return fingerprint, payload
        if hint in self._keys:
            raise SignatureRefused("the signature does not fit the bytes it claims to sign")
        raise SignatureRefused(f"signed by a key that is not trusted ({str(hint)[:16]}); trust it with --trust")


def _message(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def _signed_by(key: ec.EllipticCurvePublicKey, raw: bytes, kind: str, payload: bytes) -> bool:
    try:
        key.verify(raw, _message(kind, payload), ec.ECDSA(_HASHES[key.curve.name]()))
    except InvalidSignature:
        return False
    return True


def _signed_digests(statement: Mapping[str, Any]) -> dict[str, str]:
    """Path to digest as the statement has them, once its own root digest is found to agree."""
    predicate = statement["predicate"]
    serialization_of = predicate["serialization"]
    if statement["_type"] != STATEMENT_TYPE or statement["predicateType"] != PREDICATE_TYPE:
        raise ValueError
    if serialization_of["method"] != "files" or serialization_of["hash_type"] != "sha256":
        raise ValueError
    (subject,) = statement["subject"]
    root = hashlib.sha256()
    signed: dict[str, str] = {}
    for resource in predicate["resources"]:
        if resource["algorithm"] != "sha256" or resource["name"] in signed:
            raise ValueError
        signed[resource["name"]] = resource["digest"]
        root.update(bytes.fromhex(resource["digest"]))
    if subject["digest"]["sha256"] != root.hexdigest():
        raise ValueError
    return signed


def _as_sha256(texts: Iterable[str]) -> frozenset[str]:
    """Fingerprints or digests as they are compared; one that could never match is a mistake, not a revocation."""
    found = frozenset(text.lower() for text in texts)
    if not all(_SHA256.fullmatch(text) for text in found):
        raise SettingError("a revoked key or digest is 64 hexadecimal digits, as `scoreline verify` prints them")
    return found


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError from None


def _read_private(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise NotFound(f"no signing key at {path}; `scoreline keygen` makes a pair") from None


def _load_private(pem: bytes, name: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingError(f"{name} is not a private EC key in PEM without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise SettingError(f"{name} is not an EC key on P-256, P-384 or P-521")
    return key


def _load_public(pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise SettingError("a trusted key must be a PEM public key; `scoreline keygen` makes a pair") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise SettingError("a trusted key must be an EC key on P-256, P-384 or P-521")
    return key


def _public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
