"""What the smoke experiment makes, as one digest per file: portable arithmetic gives the same on every machine with AVX2.

    python -m tests.helpers.golden    # rewrites tests/workflow/golden.json

Do that where results are meant to change: by other code, other libraries or another smoke experiment. A change of
plumbing (rrl/code_version.py) must not change it.
"""

import hashlib
import json
from pathlib import Path

from tests.helpers.clones import CLONE, code_digest
from tests.helpers.contents import contents

GOLDEN = CLONE / "tests/workflow/golden.json"


def digests(root: Path) -> dict[str, str]:
    """File below a results root -> digest (16 hex digits) of what it holds, without keys, times and places in the file."""
    texts: dict[str, list[str]] = {}
    for place, value in contents(root).items():
        file, _, name = place.partition(": ")
        texts.setdefault(file, []).append(f"{name} {value}")
    return {file: hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] for file, lines in texts.items()}


if __name__ == "__main__":
    from tests.helpers.smoke import RESULTS, finished_smoke

    made = digests(finished_smoke(code_digest()) / RESULTS)
    GOLDEN.write_text(json.dumps(made, indent=0, sort_keys=True) + "\n")
    print(f"{len(made)} digests in {GOLDEN}")
