"""Networks of the user on images of the user: which is best, and does concatenating them help?

Writes an experiment's config, runs the workflow on it and reads its records: everything is cached, restartable and
can be changed like any other experiment.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rrl.bars import Bar
from rrl.caveats import VAL
from rrl.cli.compare_records import compare_records
from rrl.config.load import run_command
from rrl.config.nearest import one_of
from rrl.config.references import transform_mistakes
from rrl.data.image_sources import LIBRARY, open_source
from rrl.errors import UserError
from rrl.job import Card, read_card
from rrl.networks.architectures import parse_architecture
from rrl.statistics import interval
from rrl.store.files import sha256_of_file, write_text

HEADING = "# Written by rrl compare; to change it, edit it and run it with snakemake. Keys: docs/config.md. Digest: "
# As `make demo` starts Snakemake: also after a kill, and beside no other one.
RESUME = "import sys; sys.path.insert(0, sys.argv[1]); from workflow.resume import main; sys.exit(main(sys.argv[2:]))"
SNAKEFILE = Path(__file__).parents[2] / "Snakefile"
LIBRARIES = ("timm/", "torchvision/")
ALL, BEST, PROBE, TABLE = "all", "best", "comparison", "comparison"
STEPS = 30  # of an epoch, at least: a pass over few images is too short to train a head
STEPS_DONE = re.compile(r"(\d+) of (\d+) steps")  # of Snakemake
NETWORK_KEYS = ("size", "resize", "interpolation", "mean", "std")


@dataclass(frozen=True)
class Compared:
    """A network as it was named: label for people, name in the config; file is None for a library's weights."""

    label: str
    name: str
    arch: str
    file: Path | None
    transform: dict[str, Any]

    @property
    def network(self) -> str:
        return f"{self.name}-s0"

    def entry(self) -> dict[str, Any]:
        """In the config's `networks`."""
        if self.file is None:
            return {"origin": "library", "models": [self.arch], "transform": self.transform}
        files = [{"path": str(self.file), "sha256": sha256_of_file(self.file)}]
        return {"origin": "user", "arch": self.arch, "format": "auto", "files": files, "transform": self.transform}


def name_of(text: str) -> str:
    """A name that a config allows, from any text."""
    name = re.sub(r"-+", "-", re.sub(r"[^a-z0-9_-]", "_", text.lower()))[:40].strip("-_")
    return name if name[:1].isalpha() else f"n{name}".rstrip("-_")


def understand(words: Sequence[str], preprocess: Sequence[tuple[str, str]]) -> list[Compared]:
    """The networks that the words of a command line name: timm/<name>, torchvision/<name>, FILE, or <arch>=FILE.

    preprocess : (word, "size=224,mean=0.5/0.5/0.5") pairs, in place of what the library says of the network.
    Raises UserError for a file that is missing or of no known architecture, and for unknown words and keys.
    """
    if len(words) < 2:
        raise UserError("one network: name two or more to compare; one alone: rrl.library.probe in Python")
    if repeated := [word for word in words if list(words).count(word) > 1]:
        raise UserError(f"{repeated[0]}: named twice")
    given = dict(preprocess)
    for word in given:
        if word not in words:
            raise UserError(f"--preprocess: found {word!r}; {one_of(word, words)}")
    networks: list[Compared] = []
    taken = {ALL, BEST}
    for word in words:
        label, arch, file = _parts(word)
        name = name_of(label)
        if name in taken:
            name = f"{name}-{hashlib.sha256(word.encode()).hexdigest()[:6]}"
            label = word
        taken.add(name)
        networks.append(Compared(label, name, arch, file, _transform(word, arch, file, given.get(word))))
    return networks


def _parts(word: str) -> tuple[str, str, Path | None]:
    """Label, architecture, file."""
    if word.startswith(LIBRARIES) and "=" not in word:
        parse_architecture(word)
        return word.partition("/")[2], word, None
    arch, separator, path = word.rpartition("=")
    file = Path(path).resolve()
    if not file.is_file():
        raise UserError(
            f"{file}: missing; allowed are timm/<name>, torchvision/<name>, a file of weights, or <architecture>=FILE"
        )
    if separator:
        parse_architecture(arch)
    else:
        from rrl.networks.recognise import architecture_of  # imports torch

        arch = architecture_of(file)
    return re.sub(r"(\.pth)?\.tar$|\.\w+$", "", file.name), arch, file


def _transform(word: str, arch: str, file: Path | None, changes: str | None) -> dict[str, Any]:
    from rrl.networks.pretrained import preprocessing  # imports the libraries

    transform = preprocessing(arch, None if file is None else file.name)
    for change in changes.split(",") if changes else []:
        key, _, text = change.partition("=")
        if key not in NETWORK_KEYS:
            raise UserError(f"--preprocess {word}: found {key!r}; {one_of(key, NETWORK_KEYS)}")
        try:
            numbers = [float(part) for part in text.split("/")] if key != "interpolation" else []
        except ValueError:
            raise UserError(f"--preprocess {word}: {key}: found {text!r}; needed are numbers, as 0.5/0.5/0.5") from None
        whole = key in ("size", "resize")
        transform[key] = text if key == "interpolation" else int(numbers[0]) if whole else numbers
    for mistake in transform_mistakes(f"--preprocess {word}", **transform):
        raise UserError(mistake)
    return transform


def experiment(
    networks: Sequence[Compared], data: str, data_root: Path, output: Path, leave_out: bool
) -> dict[str, Any]:
    """The config. Raises UserError if there are no usable data."""
    if data.startswith(LIBRARY):
        root, source = data_root, data
    else:
        path = Path(data).resolve()
        root, source = path.parent, path.name
    found = open_source(source, root)
    target = name_of(Path(data).stem)
    images = sum(map(len, found.parts.values()))
    members = [network.network for network in networks]
    rows = [{"method": of.label, "group": of.name, "ensemble": False} for of in networks]
    rows += [
        {"method": f"CAT{len(networks)}", "group": ALL, "ensemble": False},
        {"method": f"CAT{len(networks)}", "group": ALL, "ensemble": True},
        {"method": "best subset on val", "group": BEST, "ensemble": False},
    ]
    batch_size = 256
    return {
        "results": str(output),
        "data": str(root),
        "checkpoints": "checkpoints",
        "arithmetic": "native",
        "targets": {
            target: {
                "dataset": "images",
                "source": source,
                "fingerprint": found.fingerprint,
                "unreadable": "leave_out" if leave_out else "stop",
                "val_fraction": 0.2,
                "test_fraction": 0.2,
                "split_seed": 0,
                "shots": ["all"],
                "transform": "network",
                "probe": PROBE,
            }
        },
        "recipes": {},
        "networks": {of.name: of.entry() for of in networks},
        "features": {"views": 1, "dtype": "float32", "precision": "float32", "batch_size": 64},
        "representations": {ALL: {"members": members}, BEST: {"best_subset_of": members}},
        "probes": {
            PROBE: {
                "learning_rates": [0.01, 0.1],
                "weight_decays": [0.0, 1e-4, 1e-3, 1e-2, 1e-1],
                "epochs": 28,
                "steps_per_epoch": 0 if images > STEPS * batch_size else STEPS,
                "batch_size": batch_size,
                "momentum": 0.9,
                "nesterov": True,
                "schedule": {"name": "step", "milestones": [8, 16, 24], "factor": 0.1},
                "batch_norm": True,
                "seed": 0,
            }
        },
        "grid": "own",
        "finetunings": {},
        "tables": {
            TABLE: {
                "caption": f"Linear probing on {Path(data).name}.",
                "selections": ["heldout"],
                "windows": "first",
                "paper": None,
                "columns": [{"transfer": "linear_probe", "target": target, "shots": "all"}],
                "rows": rows,
            }
        },
        "figures": {},
        "claims": {},
    }


def write_config(config: dict[str, Any]) -> Path:
    """In the results folder. One that an earlier comparison wrote is replaced: what it asked for stays where it is.

    Raises UserError if somebody edited that.
    """
    path = Path(config["results"], "config.yaml")
    if path.exists():
        heading, _, text = path.read_text(encoding="utf-8").partition("\n")
        if heading.startswith(HEADING) and heading != HEADING + _digest(text):
            raise UserError(
                f"{path}: edited since rrl compare wrote it; to run it: {run_command(path)}; "
                "to have another written in its place, move it away, or name another folder with --output"
            )
    text = yaml.dump(config, Dumper=Plain, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    write_text(path, f"{HEADING}{_digest(text)}\n{text}")
    return path


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Plain(yaml.SafeDumper):
    """Equal values are written out each time, without YAML's anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def run_workflow(config: Path, cores: int | None) -> None:
    """Raises UserError if a job fails; Snakemake has said which, and why, by then."""
    command = [sys.executable, "-c", RESUME, str(SNAKEFILE.parent)]
    command += ["--snakefile", str(SNAKEFILE), "--configfile", str(config)]
    command += ["--cores", str(cores or "all"), "--scheduler", "greedy", "--max-jobs-per-timespan", "1000/3s"]
    command += ["--quiet", "host", "rules"]
    if not SNAKEFILE.exists():
        raise UserError(f"{SNAKEFILE}: missing; rrl compare runs from a clone of the project")
    output: list[str] = []
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
        Bar("workflow", "job", None, kept=False) as bar,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                output.append(line)
                if steps := STEPS_DONE.match(line):
                    bar.total = int(steps[2])
                    bar.add(int(steps[1]) - bar.done)
        except KeyboardInterrupt:
            _read_on(process)
            raise UserError(f"interrupted. To go on: the same command; what is done is kept ({config})") from None
    if process.returncode:
        reasons = [line for line in output if ".log: Error: " in line]
        print(*(reasons or output), sep="", end="", file=sys.stderr)
        raise UserError(
            f"not finished, for the reason above. To go on: the same command; what is done is kept ({config})"
        )


def _read_on(process: subprocess.Popen[str]) -> None:
    """Until Snakemake, which Ctrl-C reaches too, has ended in its own time: it has more to say. Whoever presses Ctrl-C
    again in the meantime still learns how to go on."""
    while True:
        try:
            process.communicate()
            return
        except KeyboardInterrupt:
            continue


def lines(config: dict[str, Any], networks: Sequence[Compared]) -> Iterator[str]:
    """The comparison for people, from the records of the workflow."""
    root = Path(config["results"])
    (target,) = config["targets"]
    about = read_card(root / f"targets/{target}.json").facts
    yield from _data_lines(about)
    records = {name: _record(root, target, name, "linear_probe") for name in (ALL, BEST)}
    alone = {of.label: _record(root, target, of.network, "linear_probe") for of in networks}
    count = len(networks)
    best = records[BEST].facts["results"][0]["selected"]["members"]
    labels = {of.network: of.label for of in networks}
    shown = {
        **alone,
        f"all {count} concatenated (CAT{count})": records[ALL],
        f"ensemble of all {count} (CAT{count}^sub)": _record(root, target, ALL, "ensemble"),
        f"best subset on val: {' + '.join(labels[name] for name in best)}": records[BEST],
    }
    width = max(map(len, shown))
    yield f"{'':{width}}    val   test   95 % interval"
    for name, record in shown.items():
        (result,) = [entry for entry in record.facts["results"] if entry["selection"] == "heldout"]
        low, high = interval(result["top1"], result["n_test"])
        val, test = 100 * result["val_top1"], 100 * result["top1"]
        yield f"{name:{width}}  {val:5.1f}  {test:5.1f}   {100 * low:.1f} to {100 * high:.1f}"
    yield VAL
    first = max(alone, key=lambda label: alone[label].facts["results"][0]["val_top1"])
    yield ""
    yield _verdict(f"CAT{count}", first, records[ALL], alone[first])


def _record(root: Path, target: str, representation: str, transfer: str) -> Card:
    return read_card(root / f"records/{target}/{representation}/{transfer}.json")


def _data_lines(about: dict[str, Any]) -> Iterator[str]:
    counts = about["counts"]
    yield (
        f"{sum(counts.values())} images in {about['classes']} classes: {counts['train']} to train on, "
        f"{counts['val']} to pick setting and epoch on (val), {counts['test']} to test on, read once"
    )
    for kind, count in about["converted"].items():
        yield f"  {count} images: {kind}"
    for image, reason in about["left_out"].items():
        yield f"  left out: {image}: {reason}"
    if names := about["no_images_by_name"]:
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        yield f"  not images by their names: {len(names)} ({some})"


def _verdict(cat: str, single: str, together: Card, alone: Card) -> str:
    (entry,) = [entry for entry in compare_records(together, [alone]) if entry["selection"] == "heldout"]
    low, high = (100 * bound for bound in entry["difference_interval"])
    difference = 100 * entry["difference"]
    what = (
        "concatenating helps"
        if low > 0
        else "concatenating hurts"
        if high < 0
        else f"no difference can be shown with {entry['n_test']} test images"
    )
    return (
        f"{cat} minus {single}, the network that is best on val: {difference:+.1f} points, 95 % interval {low:+.1f} to "
        f"{high:+.1f}, McNemar p {entry['mcnemar_p']:.2g}: {what}."
    )


def compare(
    words: Sequence[str],
    data: str,
    *,
    data_root: Path = Path("data"),
    output: Path | None = None,
    preprocess: Sequence[tuple[str, str]] = (),
    leave_out: bool = False,
    cores: int | None = None,
) -> Iterator[str]:
    """What `rrl compare` prints. Raises UserError for anything that a user can mend."""
    networks = understand(words, preprocess)
    results = output or Path("results", name_of(Path(data).stem))
    config = experiment(networks, data, data_root, results, leave_out)
    path = write_config(config)
    for of in networks:
        how = ", ".join(f"{key} {_text(of.transform[key])}" for key in NETWORK_KEYS)
        yield f"{of.label}: {of.arch}; {how}"
    run_workflow(path, cores)
    yield from lines(config, networks)
    yield "The interval is from the number of test images alone; another set of seeds is another matter."
    yield f"Report: {results}/{TABLE}.md (.csv, .tex); records: {results}/records.csv; config: {path}"
    yield f"To change something, edit the config and run: {run_command(path)}"


def _text(value: Any) -> str:
    return "/".join(f"{part:g}" for part in value) if isinstance(value, list) else str(value)
