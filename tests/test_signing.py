"""Signatures: our verifier and the `model-signing` library say the same of the same bytes."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_signing
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from models import keys
from scoreline.core.bundle import SIGNATURE, read_files
from scoreline.core.errors import NotFound, SettingError, SignatureRefused
from scoreline.sealing.sign import sign_folder
from scoreline.signing import TrustStore, generate_keys, public_pem_of

FILES = {"manifest.json": b'{"a":1}', "model.ubj": bytes(range(256)) * 20, "golden.json": b"[]"}
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
DIGESTS = {"P-256": hashes.SHA256(), "P-384": hashes.SHA384(), "P-521": hashes.SHA512()}


def write_key(folder: Path, name: str, key: Any) -> tuple[Path, Path]:
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def signed_folder(tmp_path: Path, curve: str = "P-256") -> tuple[Path, Path, Path]:
    """A folder of files signed with the library, and its keys."""
    private, public = write_key(tmp_path, "signer", ec.generate_private_key(CURVES[curve]))
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name, raw in FILES.items():
        (folder / name).write_bytes(raw)
    sign_folder(folder, private)
    return folder, private, public


def ours(folder: Path, *public: Path) -> bool:
    """Whether our verifier takes the folder."""
    files = read_files(folder)
    signature = files.pop(SIGNATURE)
    try:
        TrustStore.from_files(public).verify(
            signature, {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
        )
    except SignatureRefused:
        return False
    return True


def theirs(folder: Path, public: Path) -> bool:
    """Whether the library takes the folder."""
    try:
        model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public).verify(folder, folder / SIGNATURE)
    except Exception:  # the library raises whatever its parsers raise
        return False
    return True


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edits the signature's outer JSON."""
    found = json.loads((folder / SIGNATURE).read_bytes())
    edit(found)
    (folder / SIGNATURE).write_text(json.dumps(found))


def forge(folder: Path, private: Path, edit: Callable[[dict[str, Any]], object], curve: str = "P-256") -> None:
    """Edits the signed statement and signs it again with the right key: a careless signer, or a hostile one."""

    def again(found: dict[str, Any]) -> None:
        envelope = found["dsseEnvelope"]
        statement = json.loads(base64.b64decode(envelope["payload"]))
        edit(statement)
        payload = json.dumps(statement).encode()
        kind = envelope["payloadType"].encode()
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
        key = serialization.load_pem_private_key(private.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        envelope["payload"] = base64.b64encode(payload).decode()
        envelope["signatures"][0]["sig"] = base64.b64encode(key.sign(message, ec.ECDSA(DIGESTS[curve]))).decode()

    change(folder, again)


def resource(statement: dict[str, Any], name: str) -> dict[str, Any]:
    return next(found for found in statement["predicate"]["resources"] if found["name"] == name)


def reroot(statement: dict[str, Any]) -> None:
    """Makes the root digest of a statement fit its resources again."""
    root = hashlib.sha256(b"".join(bytes.fromhex(found["digest"]) for found in statement["predicate"]["resources"]))
    statement["subject"][0]["digest"]["sha256"] = root.hexdigest()


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))


# What both take and both refuse ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", CURVES)
def test_good_signature_is_taken_by_both(tmp_path: Path, curve: str) -> None:
    folder, private, public = signed_folder(tmp_path, curve)
    assert ours(folder, public)
    assert theirs(folder, public)
    forge(folder, private, lambda statement: None, curve)
    assert ours(folder, public)
    assert theirs(folder, public)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("name", FILES)
def test_flipped_byte_is_refused_by_both(tmp_path: Path, curve: str, name: str) -> None:
    folder, _, public = signed_folder(tmp_path, curve)
    flip(folder / name)
    assert not ours(folder, public)
    assert not theirs(folder, public)


def bad_signature_text(folder: Path, *_: Path) -> None:
    (folder / SIGNATURE).write_text("not JSON")


def empty_signature(folder: Path, *_: Path) -> None:
    (folder / SIGNATURE).write_bytes(b"")


def cut_signature_file(folder: Path, *_: Path) -> None:
    raw = (folder / SIGNATURE).read_bytes()
    (folder / SIGNATURE).write_bytes(raw[: len(raw) // 2])


def cut_signature(folder: Path, *_: Path) -> None:
    def cut(found: dict[str, Any]) -> None:
        signature = found["dsseEnvelope"]["signatures"][0]
        signature["sig"] = base64.b64encode(base64.b64decode(signature["sig"])[:-3]).decode()

    change(folder, cut)


def no_signature(folder: Path, *_: Path) -> None:
    change(folder, lambda found: found["dsseEnvelope"].update(signatures=[]))


def empty_sig(folder: Path, *_: Path) -> None:
    change(folder, lambda found: found["dsseEnvelope"]["signatures"][0].update(sig=""))


def no_envelope(folder: Path, *_: Path) -> None:
    change(folder, lambda found: found.pop("dsseEnvelope"))


def no_material(folder: Path, *_: Path) -> None:
    change(folder, lambda found: found.pop("verificationMaterial"))


def edited_payload(folder: Path, *_: Path) -> None:
    """A digest edited in the statement, with the file edited to fit, and the old signature."""

    def edit(found: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(found["dsseEnvelope"]["payload"]))
        resource(statement, "model.ubj")["digest"] = hashlib.sha256(b"other").hexdigest()
        reroot(statement)
        found["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    (folder / "model.ubj").write_bytes(b"other")
    change(folder, edit)


def other_payload_type(folder: Path, private: Path) -> None:
    change(folder, lambda found: found["dsseEnvelope"].update(payloadType="application/json"))
    forge(folder, private, lambda statement: None)


def relabelled_payload(folder: Path, *_: Path) -> None:
    change(folder, lambda found: found["dsseEnvelope"].update(payloadType="application/json"))


def other_media_type(folder: Path, *_: Path) -> None:
    change(folder, lambda found: found.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=9"))


def other_predicate_type(folder: Path, private: Path) -> None:
    forge(folder, private, lambda statement: statement.update(predicateType="https://example.org/v1"))


def other_statement_type(folder: Path, private: Path) -> None:
    forge(folder, private, lambda statement: statement.update(_type="https://in-toto.io/Statement/v0.1"))


def other_root_digest(folder: Path, private: Path) -> None:
    forge(folder, private, lambda statement: statement["subject"][0]["digest"].update(sha256="0" * 64))


def other_order_of_resources(folder: Path, private: Path) -> None:
    forge(folder, private, lambda statement: statement["predicate"]["resources"].reverse())


def two_subjects(folder: Path, private: Path) -> None:
    forge(folder, private, lambda statement: statement["subject"].append(statement["subject"][0]))


def no_subject(folder: Path, private: Path) -> None:
    forge(folder, private, lambda statement: statement.update(subject=[]))


def no_resources(folder: Path, private: Path) -> None:
    forge(folder, private, lambda statement: (statement["predicate"].update(resources=[]), reroot(statement)))


def resource_left_out(folder: Path, private: Path) -> None:
    forge(folder, private, lambda statement: (statement["predicate"]["resources"].pop(), reroot(statement)))


def resource_of_other_bytes(folder: Path, private: Path) -> None:
    def edit(statement: dict[str, Any]) -> None:
        resource(statement, "golden.json")["digest"] = "ab" * 32
        reroot(statement)

    forge(folder, private, edit)


def resource_of_a_file_that_is_not_there(folder: Path, private: Path) -> None:
    def edit(statement: dict[str, Any]) -> None:
        statement["predicate"]["resources"].append({"name": "zz", "algorithm": "sha256", "digest": "ab" * 32})
        reroot(statement)

    forge(folder, private, edit)


def digest_that_is_not_hex(folder: Path, private: Path) -> None:
    forge(folder, private, lambda statement: resource(statement, "golden.json").update(digest="zz" * 32))


def unknown_serialization(folder: Path, private: Path) -> None:
    forge(folder, private, lambda statement: statement["predicate"]["serialization"].update(method="blobs"))


def no_predicate(folder: Path, private: Path) -> None:
    forge(folder, private, lambda statement: statement.pop("predicate"))


def extra_file(folder: Path, *_: Path) -> None:
    (folder / "notes.txt").write_text("hello")


def missing_file(folder: Path, *_: Path) -> None:
    (folder / "golden.json").unlink()


def renamed_file(folder: Path, *_: Path) -> None:
    (folder / "golden.json").rename(folder / "gold.json")


def hint_of_another_key(folder: Path, *_: Path) -> None:
    change(folder, lambda found: found["verificationMaterial"]["publicKey"].update(hint="0" * 64))


@pytest.mark.parametrize(
    "tamper",
    [
        bad_signature_text,
        empty_signature,
        cut_signature_file,
        cut_signature,
        no_signature,
        empty_sig,
        no_envelope,
        no_material,
        edited_payload,
        other_payload_type,
        relabelled_payload,
        other_media_type,
        other_predicate_type,
        other_statement_type,
        other_root_digest,
        other_order_of_resources,
        two_subjects,
        no_subject,
        no_resources,
        resource_left_out,
        resource_of_other_bytes,
        resource_of_a_file_that_is_not_there,
        digest_that_is_not_hex,
        unknown_serialization,
        no_predicate,
        extra_file,
        missing_file,
        renamed_file,
        hint_of_another_key,
    ],
)
def test_tampering_is_refused_by_both(tmp_path: Path, tamper: Callable[..., None]) -> None:
    folder, private, public = signed_folder(tmp_path)
    assert ours(folder, public)
    assert theirs(folder, public)
    tamper(folder, private)
    assert not ours(folder, public)
    assert not theirs(folder, public)


def no_hint(folder: Path, *_: Path) -> None:
    """The form older signers write."""
    change(folder, lambda found: found["verificationMaterial"]["publicKey"].pop("hint"))


def spaces_in_the_signature_file(folder: Path, *_: Path) -> None:
    found = json.loads((folder / SIGNATURE).read_bytes())
    (folder / SIGNATURE).write_text(json.dumps(found, indent=4) + "\n")


@pytest.mark.parametrize("harmless", [no_hint, spaces_in_the_signature_file])
def test_what_is_not_signed_and_does_not_matter_is_taken_by_both(tmp_path: Path, harmless: Callable[..., None]) -> None:
    folder, private, public = signed_folder(tmp_path)
    harmless(folder, private)
    assert ours(folder, public)
    assert theirs(folder, public)


def test_signature_by_another_key_is_refused_by_both(tmp_path: Path) -> None:
    folder, _, public = signed_folder(tmp_path)
    _, stranger = write_key(tmp_path, "stranger", ec.generate_private_key(ec.SECP256R1()))
    assert not ours(folder, stranger)
    assert not theirs(folder, stranger)
    change(folder, lambda found: found["verificationMaterial"]["publicKey"].pop("hint"))
    assert not ours(folder, stranger)
    assert not theirs(folder, stranger)
    assert ours(folder, stranger, public)


# Where ours is the stricter, on purpose -------------------------------------------------------------------------------


def test_resource_named_twice_is_refused_by_ours(tmp_path: Path) -> None:
    """The library takes the last of two digests of one name; which one a reader means must not be a question."""
    folder, private, public = signed_folder(tmp_path)

    def twice(statement: dict[str, Any]) -> None:
        resources = statement["predicate"]["resources"]
        resources.insert(0, {**resource(statement, "golden.json"), "digest": "ab" * 32})
        reroot(statement)

    forge(folder, private, twice)
    assert not ours(folder, public)


def test_key_that_stands_twice_in_the_statement_is_refused_by_ours(tmp_path: Path) -> None:
    folder, private, public = signed_folder(tmp_path)

    def twice(found: dict[str, Any]) -> None:
        envelope = found["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"]).replace(b"{", b'{"_type": "other",', 1)
        kind = envelope["payloadType"].encode()
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
        key = serialization.load_pem_private_key(private.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        envelope["payload"] = base64.b64encode(payload).decode()
        envelope["signatures"][0]["sig"] = base64.b64encode(key.sign(message, ec.ECDSA(hashes.SHA256()))).decode()

    change(folder, twice)
    assert not ours(folder, public)


def test_file_a_signer_told_the_library_to_ignore_is_refused_by_ours(tmp_path: Path) -> None:
    """The library passes over what `ignore_paths` names; a bundle has no file that is not signed."""
    folder, _, public = signed_folder(tmp_path)
    (folder / ".gitignore").write_text("*")
    assert not ours(folder, public)


def test_shards_are_not_read_by_ours(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(b"{}")
    hashing = model_signing.hashing.Config().use_shard_serialization()
    hashing.set_ignored_paths(paths=[SIGNATURE])
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=private).set_hashing_config(hashing)
    config.sign(folder, folder / SIGNATURE)
    assert not ours(folder, public)


# Trust ----------------------------------------------------------------------------------------------------------------


def digests_of(folder: Path) -> tuple[bytes, dict[str, str]]:
    files = read_files(folder)
    signature = files.pop(SIGNATURE)
    return signature, {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}


def test_verifying_names_the_key_that_signed(tmp_path: Path) -> None:
    folder, private, public = signed_folder(tmp_path)
    _, stranger = write_key(tmp_path, "stranger", ec.generate_private_key(ec.SECP384R1()))
    fingerprint = TrustStore.from_files([stranger, public]).verify(*digests_of(folder))
    assert fingerprint == hashlib.sha256(public_pem_of(private)).hexdigest()


@pytest.mark.parametrize("write", [str.lower, str.upper])
def test_revoked_key_no_longer_counts(tmp_path: Path, write: Callable[[str], str]) -> None:
    folder, _, public = signed_folder(tmp_path)
    fingerprint = TrustStore.from_files([public]).verify(*digests_of(folder))
    with pytest.raises(SignatureRefused, match=f"key {fingerprint[:16]} is revoked"):
        TrustStore.from_files([public], revoked_keys=[write(fingerprint)]).verify(*digests_of(folder))
    TrustStore.from_files([public], revoked_keys=["ab" * 32]).verify(*digests_of(folder))


@pytest.mark.parametrize("name", FILES)
def test_revoked_digest_is_refused_whoever_signed(tmp_path: Path, name: str) -> None:
    folder, _, public = signed_folder(tmp_path)
    revoked = hashlib.sha256(FILES[name]).hexdigest()
    with pytest.raises(SignatureRefused, match="this bundle is revoked"):
        TrustStore.from_files([public], revoked_digests=[revoked]).verify(*digests_of(folder))


@pytest.mark.parametrize("text", ["", "abc", "sha256:" + "a" * 64, "g" * 64, "a" * 63])
def test_revocation_that_could_never_match_is_told(tmp_path: Path, text: str) -> None:
    public = signed_folder(tmp_path)[2]
    for revoked in ({"revoked_keys": [text]}, {"revoked_digests": [text]}):
        with pytest.raises(SettingError, match="64 hexadecimal digits"):
            TrustStore.from_files([public], **revoked)


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    folder, _, public = signed_folder(tmp_path)
    signature, digests = digests_of(folder)
    store = TrustStore.from_files([public])
    with pytest.raises(SignatureRefused, match=r"other bytes than these: model\.ubj"):
        store.verify(signature, {**digests, "model.ubj": "ab" * 32})
    _, stranger = write_key(tmp_path, "stranger", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SignatureRefused, match=r"a key that is not trusted .* trust it with --trust"):
        TrustStore.from_files([stranger]).verify(signature, digests)
    with pytest.raises(SignatureRefused, match="not a model signature this version reads"):
        store.verify(b"{}", digests)


def test_without_a_trusted_key_nothing_is_verified(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no trusted key"):
        TrustStore.from_files([])
    with pytest.raises(NotFound, match="no public key at"):
        TrustStore.from_files([tmp_path / "none.pub"])


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a PEM",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        rsa.generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        ed25519.Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        ec.generate_private_key(ec.SECP256K1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    ],
    ids=["empty", "text", "damaged", "RSA", "Ed25519", "secp256k1"],
)
def test_key_that_is_no_ec_key_on_a_known_curve_is_refused(tmp_path: Path, pem: bytes) -> None:
    (tmp_path / "odd.pub").write_bytes(pem)
    with pytest.raises(SettingError, match="a trusted key must be"):
        TrustStore.from_files([tmp_path / "odd.pub"])


def test_private_key_is_not_taken_for_a_public_one(tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    with pytest.raises(SettingError, match="must be a PEM public key"):
        TrustStore.from_files([private])


# Keys -----------------------------------------------------------------------------------------------------------------


def test_private_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        fingerprint = generate_keys(tmp_path / "a.key", tmp_path / "a.pub")
    finally:
        os.umask(old)
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a.pub").stat().st_mode & 0o777 == 0o644
    assert fingerprint == hashlib.sha256((tmp_path / "a.pub").read_bytes()).hexdigest()
    assert public_pem_of(tmp_path / "a.key") == (tmp_path / "a.pub").read_bytes()


@pytest.mark.parametrize("existing", ["a.key", "a.pub"])
def test_key_is_never_overwritten_and_half_a_pair_never_written(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(SettingError, match="never overwritten"):
        generate_keys(tmp_path / "a.key", tmp_path / "a.pub")
    assert (tmp_path / existing).read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == [existing]


def test_keys_go_into_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    generate_keys(tmp_path / "new" / "a.key", tmp_path / "new" / "a.pub")
    assert (tmp_path / "new" / "a.pub").exists()


def test_two_pairs_are_never_the_same(tmp_path: Path) -> None:
    one = generate_keys(tmp_path / "a.key", tmp_path / "a.pub")
    assert generate_keys(tmp_path / "b.key", tmp_path / "b.pub") != one


def test_signing_key_must_be_an_open_ec_key(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no signing key"):
        public_pem_of(tmp_path / "none.key")
    (tmp_path / "text.key").write_text("not a key")
    private = ec.generate_private_key(ec.SECP256R1())
    locked = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    (tmp_path / "locked.key").write_bytes(locked)
    for name in ("text.key", "locked.key"):
        with pytest.raises(SettingError, match="not a private EC key in PEM without a password"):
            public_pem_of(tmp_path / name)
        with pytest.raises(SettingError, match="not a private EC key in PEM without a password"):
            sign_folder(tmp_path, tmp_path / name)
    write_key(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    with pytest.raises(SettingError, match="not an EC key on P-256, P-384 or P-521"):
        public_pem_of(tmp_path / "rsa.key")


def test_sealed_folder_verifies_with_the_command_of_the_library(tmp_path: Path) -> None:
    folder, _, public = signed_folder(tmp_path)
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature"]
    command += [str(folder / SIGNATURE), "--public_key", str(public)]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    flip(folder / "model.ubj")
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode != 0
