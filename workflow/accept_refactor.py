"""Accept a refactor: show that the code at a commit and the code here make the same bytes, and write that down.

Both run the smoke experiment, which has every stage, each in a copy below .cache, with the config and the inputs of the
code here. If all artifacts are equal, byte for byte, the digests of the changed modules stand for the old ones in
rrl/accepted_refactors.json, a line each, so that no result reruns; commit that file with the refactor. Otherwise the
first difference is shown. Modules that no job of the smoke experiment runs are never accepted. With --old-python the
old code runs in another environment: what an upgrade of the libraries changes. Usage: make accept-refactor [OLD=commit]
[OLD_PYTHON=path]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from safetensors.numpy import load_file

from rrl.code_version import ACCEPTED, PACKAGE, accepted_refactors, imports_of, module_digest
from rrl.config.load import load_config
from rrl.errors import UserError
from rrl.job import run
from rrl.jobs import Planned
from rrl.plan import Plan
from rrl.store.files import write_text
from tests.helpers import smoke
from tests.helpers.smoke import CONFIG, RESULTS, smoke_inputs

CLONE = PACKAGE.parent
LIBRARIES = "from importlib.metadata import distributions as d; print(sorted(f'{x.name} {x.version}' for x in d()))"
DIGESTS = """import json, sys
from rrl.code_version import PACKAGE, module_digest
there = [name for name in sys.argv[1:] if (PACKAGE / f"{name.replace('.', '/')}.py").exists()]
print(json.dumps({name: module_digest(name) for name in there}))"""
MISTAKES = """import sys, yaml
from rrl.errors import UserError
from rrl.config.load import load_config
try:
    load_config(yaml.safe_load(open(sys.argv[1], encoding="utf-8")), [])
except UserError as error:
    print(*error.args[1:], sep="; ")"""


def git(*words: str) -> bytes:
    result = subprocess.run(["git", *words], cwd=CLONE, capture_output=True)
    if result.returncode:
        raise UserError(f"git {' '.join(words)}: {result.stderr.decode().strip()}")
    return result.stdout


def old_tree(commit: str, executable: Path) -> Path:
    """The tree of a commit; kept, with the results of these libraries and inputs, for the next call."""
    name = git("rev-parse", "--short=12", "--verify", f"{commit}^{{commit}}").decode().strip()
    made_from = executable.name + python(executable, CLONE, "-c", LIBRARIES) + Path(smoke.__file__).read_text()
    folder = CLONE / ".cache/accept" / f"old-{name}-{sha256(made_from.encode()).hexdigest()[:8]}"
    if not folder.exists():
        partial = folder.with_name("partial")
        shutil.rmtree(partial, ignore_errors=True)
        with tarfile.open(fileobj=BytesIO(git("archive", name))) as archive:
            archive.extractall(partial, filter="tar")
        link_data(partial)
        partial.rename(folder)
    return folder


def new_tree() -> Path:
    """The files here that git would commit."""
    folder = CLONE / ".cache/accept/new"
    shutil.rmtree(folder, ignore_errors=True)
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0"):
        if name and (CLONE / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CLONE / name, folder / name)
    link_data(folder)
    return folder


def link_data(tree: Path) -> None:
    (CLONE / "data").mkdir(exist_ok=True)
    (tree / "data").symlink_to(CLONE / "data")


def planned_jobs() -> list[Planned]:
    config, pins = (yaml.safe_load((CLONE / name).read_text()) for name in (CONFIG, "workflow/pins.yaml"))
    return Plan(load_config(config, []), pins).jobs


def python(executable: Path, folder: Path, *words: str, **environment: str) -> str:
    """Run Python in a tree, with its own rrl. Raises UserError with the end of what it said if it fails."""
    environment = {**os.environ, **environment, "PYTHONPATH": str(folder)}
    result = subprocess.run([executable, *words], cwd=folder, capture_output=True, text=True, env=environment)
    if result.returncode:
        raise UserError(f"{folder}: {' '.join(words[:2])} failed:\n{(result.stdout + result.stderr)[-2000:]}")
    return result.stdout


def run_smoke(executable: Path, tree: Path) -> Path:
    """The results root of the experiment, run in a tree. Raises UserError if its code cannot run it."""
    write_text(tree / CONFIG, (CLONE / CONFIG).read_text())
    words = "-m snakemake --cores all --scheduler greedy --max-jobs-per-timespan 1000/3s --rerun-incomplete --nolock"
    with smoke_inputs(tree) as environment:
        if mistakes := python(executable, tree, "-c", MISTAKES, str(CONFIG)).strip():
            raise UserError(f"{tree.name} cannot run {CONFIG}: {mistakes}; there is nothing to compare with")
        python(executable, tree, *words.split(), "--quiet", "rules", "--configfile", str(CONFIG), **environment)
    return tree / RESULTS


def artifacts(root: Path) -> list[Path]:
    """Files below a results root in the order in which they are made; without logs, times and hosts."""
    made = {job.artifact: number for number, job in enumerate(planned_jobs())}

    def order(path: Path) -> tuple[int, bool, Path]:
        name = str(path).removesuffix(path.suffix).replace("logits/", "records/", 1)
        number = made.get(name, made.get(str(path.parent), len(made)))
        return number, path.suffix == ".json", path  # a card repeats digests of what is beside it

    files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    kept = [path for path in files if path.parts[0] not in ("logs", "work") and not path.name.endswith(".run.json")]
    return sorted(kept, key=order)


def first_difference(old: Path, new: Path) -> str:
    """Of two results roots, in words; empty if there is none."""
    files = artifacts(old)
    if lacking := sorted(set(files) ^ set(artifacts(new))):
        return f"{lacking[0]}: only the {'old' if lacking[0] in files else 'new'} code makes it"
    for name in files:
        if (old / name).read_bytes() != (new / name).read_bytes():
            return f"{name}: {difference(old / name, new / name)}"
    return ""


def difference(old: Path, new: Path) -> str:
    """Where two files of the same name first differ."""
    end: tuple[str, Any] = ("nothing more", None)
    for (place, before), (other, after) in zip_longest(values(old), values(new), fillvalue=end):
        if place != other:
            return f"{place} in the old, {other} in the new"
        if isinstance(before, np.ndarray) and not np.array_equal(before, after):
            if before.shape != after.shape or before.dtype != after.dtype:
                return f"{place}: {before.dtype} {before.shape} -> {after.dtype} {after.shape}"
            at = tuple(map(int, np.argwhere(before != after)[0]))
            return f"{place}{list(at)}: {before[at]} -> {after[at]}"
        if not isinstance(before, np.ndarray) and before != after:
            return f"{place}: {before} -> {after}"
    return "the same values, stored otherwise"


def values(path: Path) -> Iterator[tuple[str, Any]]:
    """The content of a file, piece by piece, each with its place."""
    match path.suffix:
        case ".json":
            yield from leaves("", json.loads(path.read_text()))
        case ".safetensors":
            yield from sorted(load_file(path).items())
        case ".h5":
            items: list[tuple[str, Any]] = []
            with h5py.File(path) as file:
                file.visititems(
                    lambda name, item: items.append((name, item[...])) if isinstance(item, h5py.Dataset) else None
                )
                yield from items
                yield from sorted(file.attrs.items())
        case ".png":
            yield "picture", np.frombuffer(path.read_bytes(), np.uint8)
        case _:
            yield from ((f"line {number}", line) for number, line in enumerate(path.read_text().splitlines(), 1))


def leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(f"{place}.{key}".lstrip("."), item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(f"{place}[{number}]", item)
    else:
        yield place, value


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", required=True, help="commit whose code made the results that are to be kept")
    parser.add_argument("--old-python", type=Path, required=True, help="Python of the environment that it ran in")
    arguments = parser.parse_args(argv)

    old_python, here = arguments.old_python.absolute(), Path(sys.executable)
    old, new = old_tree(arguments.old, old_python), new_tree()
    modules = smoke_modules()
    digests = json.loads(python(old_python, old, "-c", DIGESTS, *modules))
    stages = {job.stage for job in planned_jobs()}
    if lacking := sorted(stage for stage in stages if f"stages.{stage}" not in digests):
        raise UserError(f"{arguments.old} has no stage {', '.join(lacking)}: there is nothing to compare with")
    changed = newly_accepted(modules, digests)
    if not changed and old_python == here:
        print(f"No stage has another version than at {arguments.old}: nothing to accept.")
        return
    table = json.dumps(accepted_refactors() | changed, sort_keys=True, indent=1) + "\n"
    write_text(new / "rrl" / ACCEPTED, table)
    print(f"Running {CONFIG} with the code of {arguments.old}, then with the code here ...")
    if items := first_difference(run_smoke(old_python, old), run_smoke(here, new)):
        raise UserError(f"not accepted, as results differ. The first difference: {items}")
    print(f"Equal, byte for byte: {len(artifacts(new / RESULTS))} files.")
    if changed:
        write_text(PACKAGE / ACCEPTED, table)
        print(f"Accepted, in rrl/{ACCEPTED}, to be committed with the code: {len(changed)} modules.")


def smoke_modules() -> list[str]:
    """The modules that jobs of the smoke experiment run, each after those that it imports."""
    ordered: list[str] = []

    def add(module: str) -> None:
        if module not in ordered:
            for below in sorted(imports_of(module)):
                add(below)
            ordered.append(module)

    for job in planned_jobs():
        for module in [f"stages.{job.stage}", *(part.module for part in job.parts)]:
            add(module)
    return ordered


def newly_accepted(modules: list[str], digests: dict[str, str]) -> dict[str, str]:
    """Digest here -> digest in the old code, of the modules that differ from those of the same name there. One that
    differs only in what it imports needs no entry."""
    changed: dict[str, str] = {}
    for module in modules:
        module_digest.cache_clear()
        digest = module_digest(module, frozenset(changed.items()))
        if module in digests and digest != digests[module]:
            changed[digest] = digests[module]
    return changed


if __name__ == "__main__":
    run(main)  # type: ignore[arg-type]
