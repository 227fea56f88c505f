"""What a config says of a data set or of a file of weights, to know it again."""

from pathlib import Path

from rrl.data.image_sources import ARRAYS, KINDS, LIBRARY, open_source
from rrl.errors import UserError
from rrl.store.files import sha256_of_file


def digests(path: str, data_root: Path) -> dict[str, str]:
    """`sha256` of a file, `fingerprint` of a data set, both of a file of arrays. Raises UserError for anything else."""
    file = data_root / path
    result: dict[str, str] = {}
    if file.is_file() and file.suffix != ".csv":
        result["sha256"] = sha256_of_file(file)
        if file.suffix not in ARRAYS:
            return result
    elif not path.startswith(LIBRARY) and not file.exists():
        raise UserError(f"{file}: missing; it must be {KINDS}; or the file of a network, with any name")
    try:
        return result | {"fingerprint": open_source(path, data_root).fingerprint}
    except UserError:
        if result:  # a network, or data that cannot be used
            return result
        raise
