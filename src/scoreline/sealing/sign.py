"""Signing, with the `model-signing` library: what it writes also verifies with `model_signing verify key`."""

from pathlib import Path

import model_signing

from scoreline.core.bundle import SIGNATURE
from scoreline.core.errors import NotFound, SettingError


def sign_folder(folder: Path, private_key: Path) -> None:
    """Signs every file of a folder with an EC key in PEM and writes the signature beside them."""
    if not private_key.is_file():
        raise NotFound(f"no signing key at {private_key}; `scoreline keygen` makes a pair")
    try:
        config = model_signing.signing.Config()  # type: ignore[no-untyped-call]
        config = config.use_elliptic_key_signer(private_key=private_key)
    except (ValueError, TypeError):
        raise SettingError(f"{private_key.name} is not a private EC key in PEM without a password") from None
    # As the library's own command does: a verifier that hashes the whole folder then passes over the signature.
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)  # type: ignore[no-untyped-call]
    config.set_hashing_config(hashing).sign(folder, folder / SIGNATURE)
