"""`scoreline image build --out`: the folder an image is built from holds what it serves, and no secret."""

import json
from pathlib import Path

from scoreline.core.bundle import read_bundle
from scoreline.signing import TrustStore
from service import REPOSITORY, SealedModel, run_scoreline

EXAMPLE = REPOSITORY / "examples" / "fraud"


def built(sealed: SealedModel, out: Path, *more: str | Path, trust: Path | None = None) -> tuple[int, str]:
    given = ("image", "build", sealed.folder, "--trust", trust or sealed.public_key, "--out", out)
    found = run_scoreline(*given, *more, cwd=out.parent)
    return found.returncode, found.stdout + found.stderr


def test_it_holds_the_bundle_the_key_and_the_settings(sealed: SealedModel, tmp_path: Path) -> None:
    out = tmp_path / "image"
    code, said = built(sealed, out, "--set", "server.port=80", "--set", "log.level=ERROR", "--base", "mine:1")
    assert (code, said) == (0, f"{out}  fraud 1\n")
    bundle = read_bundle(out / "bundles" / "fraud-1", TrustStore.from_files([out / "trust" / "1.pub"]))
    assert bundle.manifest.name == "fraud"
    lines = (out / "Dockerfile").read_text().splitlines()
    assert "ARG BASE=mine:1" in lines
    assert json.loads(lines[-1].removeprefix("CMD ")) == ["serve", "/opt/bundles/fraud-1"]
    assert '    SCORELINE_SERVER__PORT="80" \\' in lines
    assert {path.name for path in out.iterdir()} == {"Dockerfile", "bundles", "trust"}


def test_what_must_not_go_into_an_image_is_refused(sealed: SealedModel, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(sealed.public_key.read_bytes() + sealed.private_key.read_bytes())
    for words, more, trust in (
        ("a secret must not go into an image", ("--set", "access.admin_key=0123456789abcdef01234567"), None),
        ("unknown setting 'server.prot'", ("--set", "server.prot=80"), None),
        ("holds a private key", (), both),
    ):
        code, said = built(sealed, tmp_path / "new", *more, trust=trust)
        assert code == 1
        assert words in said
        assert "0123456789abcdef" not in said


def test_an_unsealed_bundle_and_a_folder_that_is_there_are_refused(sealed: SealedModel, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert built(sealed, tmp_path / "there")[0] == 1
    other = run_scoreline("keygen", "--out", "other", cwd=tmp_path)
    assert other.returncode == 0
    code, said = built(sealed, tmp_path / "new", trust=tmp_path / "other.pub")
    assert (code, "not trusted" in said or "signed by" in said) == (1, True), said


def test_a_client_that_is_not_there_is_said(sealed: SealedModel, tmp_path: Path) -> None:
    given = ("image", "build", sealed.folder, "--trust", sealed.public_key, "-t", "x:1", "--docker", "no-such-client")
    found = run_scoreline(*given, cwd=tmp_path)
    assert (found.returncode, "no `no-such-client` here" in found.stderr) == (1, True)


def test_the_example_in_the_repository_is_trusted_by_its_own_key() -> None:
    bundle = read_bundle(EXAMPLE / "bundles" / "fraud-1", TrustStore.from_files([EXAMPLE / "trust" / "1.pub"]))
    assert (bundle.manifest.name, bundle.manifest.version) == ("fraud", "1")
