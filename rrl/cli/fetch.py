"""Download data sets and published networks to where an experiment looks for them."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from rrl.config.nearest import one_of
from rrl.data.fetch import fetch
from rrl.data.sources import DEMO
from rrl.data.sources import names as datasets
from rrl.errors import UserError
from rrl.networks.checkpoints import checkpoints
from rrl.stages.download import download

PINS = Path(__file__).parents[2] / "workflow/pins.yaml"


def fetch_all(names: Sequence[str], data_root: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Fetch data sets below `data_root` and files of networks below `folder`; yields the name and the place of each.

    names : data sets, networks of rrl/networks/checkpoints.yaml, patterns such as `supervised-*`, single files.
    Raises UserError for an unknown name before anything is downloaded.
    """
    networks = checkpoints()
    files = {file for checkpoint in networks.values() for file in checkpoint.files}
    known = [*datasets(DEMO), *networks]
    chosen: dict[str, None] = {}  # data sets and files, each once
    for name in names:
        matching = [name] if name in files else [one for one in known if fnmatchcase(one, name)]
        if not matching:
            raise UserError(f"NAME: found {name!r}; {one_of(name, sorted(files) if '/' in name else known)}")
        for one in matching:
            chosen |= dict.fromkeys(networks[one].files if one in networks else [one])
    pins = yaml.safe_load(PINS.read_text(encoding="utf-8"))["data"]
    for name in chosen:
        yield name, fetch(name, pins[name], data_root) if name in pins else download(name, folder)
