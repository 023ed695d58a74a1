"""Small files of the state folder, replaced as a whole."""

import tempfile
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Writes a file that readers see either as it was or as it will be."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, raw: bytes) -> None:
    """As `replace_text`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as temporary:
        temporary.write(raw)
    Path(temporary.name).replace(path)
