"""Made `bundle-1-stored`, once: a bundle of format 1 with fields from a store, that every later version must read.

It is kept to be read, not to be made again: `python tests/formats/make_bundle_stored.py FOLDER` makes a new sample.
"""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from scoreline.core.batch import Context
from scoreline.core.fitting import lenient
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from stored import seal_stored

TRIPS = {"source": "store", "default": 4.5, "view": "trips", "feature": "n", "max_age_s": 3600}
LIMIT = {"source": "store", "indispensable": True}


def main(folder: Path) -> None:
    folder.mkdir()
    sealed = seal_stored(folder, trips=TRIPS, limit=LIMIT)
    sealed.private_key.unlink()
    bundle = sealed.bundle
    rows = [
        {"amount": at * 37.5, "visits": at, "ratio": at / 20, "trips": at / 2, "limit": 10 - at / 3} for at in range(20)
    ]
    decisions = Scorer(bundle.manifest, load_engine(bundle))(
        read_rows(lenient(bundle.manifest.schema), rows, Context(0))
    )
    answers = [{"row": row, "margin": found.margins[0]} for row, found in zip(rows, decisions, strict=True)]
    found = {"digest": bundle.manifest.digest, "answers": answers}
    (folder / "expected.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
