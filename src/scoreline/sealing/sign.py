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
    config.sign(folder, folder / SIGNATURE)
