"""Makes this folder anew: trains the demo's model, seals it by a key that is not kept, writes what an image holds.

`.venv/bin/python examples/fraud/make.py`, from the repository's root.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "claims"))

from demo import train  # noqa: E402


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        train(work)
        run("keygen", "--out", work / "signing")
        run(
            "seal", work / "fraud.ubj", "--name", "fraud", "--output", "fraud_probability",
            "--reference", work / "claims.parquet", "--schema", HERE.parent / "claims" / "schema.toml",
            "--threshold", "review=0.2", "--threshold", "decline=0.6",
            "--key", work / "signing.key", "--out", work / "fraud-1",
        )  # fmt: skip
        run(
            "image", "build", work / "fraud-1", "--trust", work / "signing.pub", "--out", work / "image",
            "--set", "server.port=80", "--set", "access.anonymous=predict",
        )  # fmt: skip
        for part in ("bundles", "trust"):
            shutil.rmtree(HERE / part, ignore_errors=True)
            shutil.copytree(work / "image" / part, HERE / part)
        shutil.copy(work / "image" / "Dockerfile", HERE)


def run(*arguments: str | Path) -> None:
    subprocess.run([Path(sys.executable).with_name("scoreline"), *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
