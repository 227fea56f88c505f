"""What reruns after a change, on the real Snakefile and the tiny experiment: the tables of docs/reruns.md.

Each change of PAIRS that must rerun nothing stands beside a twin that must rerun something, exactly what is named there.
An artifact is named as below the results root, without suffix.

    python -m tests.helpers.reruns    # rewrites the table of modules in docs/reruns.md
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import yaml

from rrl.code_version import PACKAGE, imports_of
from rrl.config.load import load_config
from rrl.plan import Plan
from tests.helpers.clones import CLONE, duplicate, edited, snakemake

Change = Callable[[Path], AbstractContextManager[Path]]
ROOT = "results/tiny"
CONFIG = "workflow/config/tiny.yaml"
PINS = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())
SMOKE = load_config(yaml.safe_load((CLONE / "workflow/config/smoke.yaml").read_text()), [])
SMOKE_JOBS = Plan(SMOKE, PINS).jobs  # of every stage


def planned(folder: Path, *options: str) -> set[str]:
    """Artifacts that a dry run would make."""
    output = snakemake(folder, options=("--dry-run", *options), quiet=False)
    cards = re.findall(r"[^\s,]+\.json", "\n".join(re.findall(r"^ +output: (.*)$", output, flags=re.MULTILINE)))
    return {card.removeprefix(f"{ROOT}/").removesuffix(".json") for card in cards if not card.endswith(".run.json")}


def fitting(artifacts: set[str], patterns: Iterable[str]) -> dict[str, int]:
    """How many artifacts fit each pattern. Each must fit one."""
    fits = {artifact: [pattern for pattern in patterns if fnmatch(artifact, pattern)] for artifact in artifacts}
    assert {artifact: found for artifact, found in fits.items() if len(found) != 1} == {}
    return {pattern: sum(found == [pattern] for found in fits.values()) for pattern in patterns}


# Changes. Each is applied in a folder where tiny was run, gives the folder to plan in, and is undone.


def edit(path: str, *texts: tuple[str, str]) -> Change:
    """Texts of one file replaced."""

    @contextmanager
    def change(folder: Path) -> Iterator[Path]:
        with ExitStack() as stack:
            for old, new in texts:
                stack.enter_context(edited(folder / path, old, new))
            yield folder

    return change


def config(*texts: tuple[str, str]) -> Change:
    return edit(CONFIG, *texts)


def every_module(edit_text: Callable[[str], str]) -> Change:
    @contextmanager
    def change(folder: Path) -> Iterator[Path]:
        texts = {path: path.read_text() for path in (folder / "rrl").rglob("*.py")}
        assert len(texts) > 40
        try:
            for path, text in texts.items():
                path.write_text(edit_text(text))
            yield folder
        finally:
            for path, text in texts.items():
                path.write_text(text)

    return change


def other_docstrings(text: str) -> str:
    changed = re.sub(r'"""(?=\w)', '"""Said otherwise. ', text)
    assert changed != text or '"""' not in text
    return changed


def other_layout(text: str) -> str:
    """A blank line and a comment between all top-level statements, comments at the ends of lines."""
    return re.sub(r"^(?=(def|class|@|from|import) ?)", "\n# moved\n\n", text, flags=re.MULTILINE) + "\n\n# the end\n"


def unchanged(folder: Path) -> AbstractContextManager[Path]:
    return nullcontext(folder)


def new_file(name: str, text: str) -> Change:
    @contextmanager
    def change(folder: Path) -> Iterator[Path]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        try:
            yield folder
        finally:
            (folder / name).unlink()

    return change


def touch(pattern: str) -> Change:
    @contextmanager
    def change(folder: Path) -> Iterator[Path]:
        paths = [path for path in (folder / ROOT).glob(pattern) if path.is_file()]
        assert paths
        times = {path: (path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in paths}
        for path in paths:
            os.utime(path)
        try:
            yield folder
        finally:
            for path, before in times.items():
                os.utime(path, ns=before)

    return change


def replace(file: str, edit_bytes: Callable[[bytes], bytes] | None) -> Change:
    """An artifact with other bytes; or none, deleted."""

    @contextmanager
    def change(folder: Path) -> Iterator[Path]:
        path = folder / ROOT / file
        content, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
        if edit_bytes is None:
            path.unlink()
        else:
            path.write_bytes(edit_bytes(content))
        try:
            yield folder
        finally:
            path.write_bytes(content)
            os.utime(path, ns=times)

    return change


def both(*changes: Change) -> Change:
    @contextmanager
    def change(folder: Path) -> Iterator[Path]:
        with ExitStack() as stack:
            for inner in changes:
                stack.enter_context(inner(folder))
            yield folder

    return change


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def checkout(back: bool) -> Change:
    """Two commits; the results were made at the first one."""

    @contextmanager
    def change(folder: Path) -> Iterator[Path]:
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "one")
        with edited(folder / "rrl/stages/table.py", "Windows share", "Windows have"):
            git(folder, "commit", "--quiet", "--all", "--message", "two")
        git(folder, "checkout", "--quiet", "--force", "HEAD")
        if back:
            git(folder, "checkout", "--quiet", "HEAD~1")
        try:
            yield folder
        finally:
            git(folder, "checkout", "--quiet", "--force", "HEAD" if back else "HEAD~1")
            shutil.rmtree(folder / ".git")

    return change


def moved(copy: str, *changes: Change) -> Change:
    """Everything copied to another place, then changed there. copy : options of `cp`."""

    @contextmanager
    def change(folder: Path) -> Iterator[Path]:
        other = folder.with_name(f"{folder.name} moved")
        subprocess.run(["cp", copy, folder, other], check=True)
        try:
            with both(*changes)(other):
                yield other
        finally:
            shutil.rmtree(other)

    return change


@contextmanager
def without_records(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder / ".snakemake")
    yield folder


PROFILE = "default-resources: {mem_mb: 900, runtime: 20}\nset-threads: {probe: 2}\n"


@dataclass(frozen=True)
class Case:
    """jobs : pattern of artifacts -> how many of them are made; each artifact that is made fits one pattern."""

    what: str
    change: Change
    jobs: dict[str, int]
    options: tuple[str, ...] = ()


NUMBERS = {"figures/networks": 1, "figures/gains": 1}
SIMILARITY = {"similarities/mnist/similarity": 1, "figures/similarity": 1}
TABLES = {"records": 1, "table1": 1, "table2": 1, "figures/accuracy": 1, **NUMBERS}
PROBING = {"records": 1, "table2": 1, "figures/accuracy": 1, **NUMBERS}
WIDE = {"records": 1, "table2": 1, "figures/accuracy": 1}
FINETUNING = {"records": 1, "table1": 1, "figures/accuracy": 1}
PROBES = {"records/*/*/linear_probe": 14, "records/*/*/ensemble": 4, **PROBING}
TWO_STAGE = {"records/mnist/cat2/two_stage": 1, **FINETUNING}


def nothing(what: str, change: Change, *options: str) -> Case:
    return Case(what, change, {}, options)


RANDOM = "  random: {origin: random, arch: resnet8, target: fashion-source, batch_size: 500, seeds: [0]}\n"
OF_MNIST = {
    "targets/mnist": 1, "features/mnist/*": 8, "representations/mnist/*": 9, "networks/erm-s?.mnist.*": 4, "finetuned/*": 12,
    "records/mnist/*/*": 15, **TABLES, **SIMILARITY,
}  # fmt: skip
SEED = ("seeds: [0, 1]}", "seeds: [0, 1, 2]}")
NEW_SEED = {
    "networks/erm-s2": 1,
    "networks/erm-s2.mnist.*": 2,
    "features/*/erm-s2*": 4,
    "finetuned/erm-s2.*": 4,
    "representations/*/erm-s2": 2,
    "records/*/erm-s2/linear_probe": 2,
    "records/mnist/erm-s2/finetune": 1,
}
PAIRS = [
    (
        nothing("comments in every module", every_module(lambda text: f"# why\n{text}\n# the end\n")),
        Case("a statement more in `rrl/stages/table.py`", edit("rrl/stages/table.py", ("NOTE = (", "OTHER = 1\nNOTE = (")), {"table?": 2}),
    ),
    (
        nothing("docstrings of every module, class and function", every_module(other_docstrings)),
        Case("a text in `rrl/cells.py` that is shown", edit("rrl/cells.py", ("read once", "read")), {"table?": 2, "figures/*": 4}),
    ),
    (
        nothing("layout of every module", every_module(other_layout)),
        Case("a constant of the initial head in `rrl/heads/training.py`", edit("rrl/heads/training.py", ("HEAD_STD = 0.01", "HEAD_STD = 0.02")), {**PROBES, **TWO_STAGE, **TABLES}),
    ),
    (
        nothing("layout of a number: `HEAD_STD = (0.01)`", edit("rrl/heads/training.py", ("HEAD_STD = 0.01", "HEAD_STD = (\n    0.01\n)"))),
        Case("the rule of ensembles in `rrl/stages/ensemble.py`", edit("rrl/stages/ensemble.py", (".mean(0, dtype", ".max(0).mean(0, dtype")),
             {"records/*/*/ensemble": 4, "records/mnist/cat2/ensemble_finetune": 1, **TABLES}),
    ),
    (
        nothing("a module more, which nothing imports", new_file("rrl/spare.py", "SPARE = 1\n")),
        Case("an import more, of a module that changes results", edit("rrl/stages/merge.py", ("import time\n", "import time\nimport rrl.training.randomness\n")),
             {"records/mnist/*/finetune": 3, "records/mnist/cat2/ensemble_finetune": 1, **FINETUNING}),
    ),
    (
        nothing("threads of a rule", edit("workflow/rules/records.smk", ("    threads: 1\n", "    threads: 2\n"))),
        Case("white space in the `shell:` text of a rule (Snakemake's own rule)", edit("workflow/rules/records.smk", ("stage(name)", 'stage(name).replace("--threads", " " * (name == "probe") + "--threads")')), PROBES),
    ),
    (
        nothing("resources of a rule", edit("workflow/rules/records.smk", ("gpu=int(kind.gpu),\n", "gpu=int(kind.gpu),\n            mem_mb=900,\n"))),
        Case("batch size of a probe", config(("nesterov: true\n    schedule: {name: cosine, final: 0.0}\n    batch_norm: true", "nesterov: true\n    schedule: {name: cosine, final: 0.001}\n    batch_norm: true")), PROBES),
    ),
    (
        nothing("place of a rule's log", edit("workflow/rules/features.smk", ("/logs/extract/", "/logs/features/"))),
        Case("batch size of extraction", config(("precision: float32\n  batch_size: 250", "precision: float32\n  batch_size: 125")),
             {"features/*/*": 12, "representations/*/*": 16, "networks/erm-s?.mnist.*": 4, "finetuned/*": 12, "records/*/*/*": 24, **TABLES, **SIMILARITY}),
    ),
    (
        nothing("a profile with threads, memory and time", new_file("site/config.yaml", PROFILE), "--profile", "site"),
        Case("batch size of untrained networks", config(("target: fashion-source, batch_size: 500", "target: fashion-source, batch_size: 250")),
             {"networks/random-s0": 1, "features/*/random-s0": 2, "representations/*/random-s0": 2, "records/*/random-s0/linear_probe": 2, "records": 1, "table2": 1, "figures/networks": 1}),
    ),
    (
        nothing("`--set-threads`, `--set-resources`", unchanged, "--set-threads", "probe=2", "--set-resources", "probe:mem_mb=900"),
        Case("a number of two-stage training", config(("      epochs: 2\n      steps_per_epoch: 0", "      epochs: 3\n      steps_per_epoch: 0")), TWO_STAGE),
    ),
    (
        nothing("a comment in the config", config(("# The smallest", "# Still the smallest"))),
        Case("weight decays of a probe", config(("weight_decays: [0.0, 1.0e-2]", "weight_decays: [0.0, 1.0e-3]")), PROBES),
    ),
    (
        nothing("another spelling of a number", config(("weight_decays: [0.0, 1.0e-2]", "weight_decays: [0.0, 0.01]"))),
        Case("learning rates of a probe", config(("  tiny:\n    learning_rates: [0.1]", "  tiny:\n    learning_rates: [0.2]")), PROBES),
    ),
    (
        nothing("another order of the networks", config((RANDOM, ""), ("\nnetworks:\n", f"\nnetworks:\n{RANDOM}"))),
        Case("epochs of a probe", config(("    epochs: 2\n    steps_per_epoch: 0\n    batch_size: 64\n    momentum: 0.9\n    nesterov: true", "    epochs: 3\n    steps_per_epoch: 0\n    batch_size: 64\n    momentum: 0.9\n    nesterov: true")), PROBES),
    ),
    (
        nothing("a representation that no table shows", config(("  wide2: {columns", "  one: {of: erm, sizes: [1], windows: all}\n  wide2: {columns"))),
        Case("the same, and a row of a table that shows it",
             config(("  wide2: {columns", "  one: {of: erm, sizes: [1], windows: all}\n  wide2: {columns"),
                    ("      - {method: WIDE2, group: wide2, ensemble: false}", "      - {method: ONE, group: one1, ensemble: false}\n      - {method: WIDE2, group: wide2, ensemble: false}")),
             {"representations/*/one1*": 4, "records/*/one1*/linear_probe": 4, "records": 1, "table2": 1}),
    ),
    (
        nothing("a recipe that no network has", config(("recipes:\n  erm:\n", "recipes:\n  long: &long {epochs: 9, batch_size: 50, learning_rate: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.1, decay_norm: true, precision: float32, schedule: {name: constant}}\n  erm:\n"))),
        Case("epochs of pretraining", config(("    epochs: 1\n", "    epochs: 2\n")),
             {"networks/erm-s?": 2, "networks/wide2-s0": 1, "networks/erm-s?.mnist.*": 4, "features/*/erm-s*": 8, "features/*/wide2-s0": 2,
              "finetuned/*": 12, "representations/*/erm-s?": 4, "representations/*/cat2*": 4, "representations/*/wide2-s0*": 6,
              "records/*/erm-s?/*": 6, "records/*/cat2/*": 8, "records/*/wide2-s0*/*": 8, **TABLES, **SIMILARITY}),
    ),
    (
        nothing("a target that nothing is moved to",
                config(("  mnist:\n    dataset: mnist-5k", "  digits: {dataset: mnist-5k, classes: [0, 1], train_per_class: 20, val_per_class: 10, split_seed: 0, shots: [all], probe: tiny, transform: {mean: 0, std: 1, pad: 2, flip: true}}\n  mnist:\n    dataset: mnist-5k"))),
        Case("the same, and a column of a table that shows it",
             config(("  mnist:\n    dataset: mnist-5k", "  digits: {dataset: mnist-5k, classes: [0, 1], train_per_class: 20, val_per_class: 10, split_seed: 0, shots: [all], probe: tiny, transform: {mean: 0, std: 1, pad: 2, flip: true}}\n  mnist:\n    dataset: mnist-5k"),
                    ("      - {transfer: linear_probe, target: fashion-source, shots: all}\n", "      - {transfer: linear_probe, target: fashion-source, shots: all}\n      - {transfer: linear_probe, target: digits, shots: all}\n")),
             {"targets/digits": 1, "features/digits/*": 4, "representations/digits/*": 7, "records/digits/*/linear_probe": 7, "records/digits/*/ensemble": 2, "records": 1, "table2": 1}),
    ),
    (
        nothing("all files of features touched", touch("features/*/*/*.h5")),
        Case("a card of features with another fact", replace("features/mnist/wide2-s0.json", lambda text: text.replace(b'"classes": 10', b'"classes": 11')),
             {"representations/mnist/wide2-s0*": 3, "records/mnist/wide2-s0*/*": 4, **WIDE, **SIMILARITY}),
    ),
    (
        nothing("all cards touched", touch("**/*.json")),
        Case("a card of a network with another fact", replace("networks/random-s0.json", lambda text: text.replace(b'"seed": 0', b'"seed": 1')),
             {"features/*/random-s0": 2, "representations/*/random-s0": 2, "records/*/random-s0/linear_probe": 2, "records": 1, "table2": 1, "figures/networks": 1}),
    ),
    (
        nothing("features deleted, as nothing is to be made of them", replace("features/mnist/wide2-s0/val.h5", None)),
        Case("features deleted, and a record that is made of them", both(replace("features/mnist/wide2-s0/val.h5", None), replace("records/mnist/wide2-s0/linear_probe.json", None)),
             {"features/mnist/wide2-s0": 1, "representations/mnist/wide2-s0*": 3, "records/mnist/wide2-s0*/*": 4, **WIDE, **SIMILARITY}),
    ),
    (
        nothing("all networks touched", touch("networks/*")),
        Case("a network and a record of it deleted, its features still there", both(replace("networks/random-s0.safetensors", None), replace("records/mnist/random-s0/linear_probe.json", None)),
             {"records/mnist/random-s0/linear_probe": 1, "records": 1, "table2": 1, "figures/networks": 1}),
    ),
    (
        nothing("all targets touched", touch("targets/*")),
        Case("the pinned sha256 of a data set", edit("workflow/pins.yaml", ("mnist_5k.csv.gz: 846f", "mnist_5k.csv.gz: 946f")), OF_MNIST),
    ),
    (
        nothing("all representations touched, cards and virtual files", touch("representations/**/*")),
        Case("a virtual file and the record of it deleted", both(replace("representations/mnist/cat2/train.h5", None), replace("records/mnist/cat2/linear_probe.json", None)),
             {"representations/mnist/cat2": 1, "records/mnist/cat2/linear_probe": 1, **PROBING}),
    ),
    (
        nothing("all runs of fine-tuning touched", touch("finetuned/*")),
        Case("a run of fine-tuning and the record of it deleted", both(replace("finetuned/cat2.mnist.heldout-lr0.1-wd0.0005-e2.json", None), replace("records/mnist/cat2/finetune.json", None)),
             {"finetuned/cat2.mnist.heldout-lr0.1-wd0.0005-e2": 1, "records/mnist/cat2/finetune": 1, **FINETUNING}),
    ),
    (
        nothing("all records touched", touch("records/*/*/*")),
        Case("a record deleted", replace("records/mnist/cat2/ensemble.json", None), {"records/mnist/cat2/ensemble": 1, **PROBING}),
    ),
    (
        nothing("all logits touched", touch("logits/*/*/*")),
        Case("logits and the ensemble of them deleted", both(replace("logits/mnist/erm-s0/linear_probe.h5", None), replace("records/mnist/cat2/ensemble.json", None)),
             {"records/mnist/erm-s0/linear_probe": 1, "records/mnist/cat2/ensemble": 1, **PROBING}),
    ),
    (
        nothing("all tables and figures touched", touch("*.*")),
        Case("a table deleted", replace("table2.tex", None), {"table2": 1}),
    ),
    (
        nothing("every file touched", touch("**/*")),
        Case("every file touched, and one card altered", moved("-a", touch("**/*"), replace("targets/mnist.json", lambda text: text.replace(b'"classes": 10', b'"classes": 11'))),
             {name: count for name, count in OF_MNIST.items() if not name.startswith("targets/")}),
    ),
    (
        # Snakemake compares the content of files up to a size, and the times of larger ones.
        nothing("every file touched, those above 20 kB taken for large", touch("**/*"), "--max-checksum-file-size", "20000"),
        Case("the images of a target", config(("    val_per_class: 10", "    val_per_class: 12")), OF_MNIST),
    ),
    (
        nothing("`git checkout` of other code and back", checkout(back=True)),
        Case("`git checkout` of other code (a text of tables)", checkout(back=False), {"table?": 2}),
    ),
    (
        nothing("everything moved to another place, with times", moved("-a")),
        Case("the same, and shots added there", moved("-a", config(("shots: [5, 10]", "shots: [5, 10, 20]"))),
             {"records/mnist/*/linear_probe": 7, "records/mnist/*/ensemble": 2, **PROBING}),
    ),
    (
        nothing("everything moved to another place, without times", moved("-r")),
        Case("the same, and the classes of a target changed there", moved("-r", config(("classes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]", "classes: [1, 0, 2, 3, 4, 5, 6, 7, 8, 9]"))), OF_MNIST),
    ),
    (
        nothing("everything but `.snakemake` moved to another place, with times", moved("-a", without_records)),
        Case("a row of a table renamed", config(("{method: RANDOM, group", "{method: UNTRAINED, group")), {"records": 1, "table2": 1}),
    ),
    (
        nothing("a family of networks that nothing shows", config((RANDOM, RANDOM + RANDOM.replace("random:", "spare:")))),
        Case("one more setting of the first stage", config(("settings: [lr0.1-wd0.0005-e2]", "settings: [lr0.1-wd0.0005-e2, lr0.05-wd0.0005-e2]")),
             {"finetuned/erm-s?.mnist.*-lr0.05-*": 4, "networks/erm-s?.mnist.*-lr0.05-*": 4, "features/mnist/erm-s?.mnist.*-lr0.05-*": 4, "representations/mnist/cat2.*-lr0.05-*": 2,
              "records/mnist/erm-s?/finetune": 2, "records/mnist/cat2/ensemble_finetune": 1, "records/mnist/cat2/two_stage": 1, "records/mnist/cat2/averaged_head": 1, **FINETUNING}),
    ),
]  # fmt: skip
MORE = [
    Case("arithmetic", config(("arithmetic: portable", "arithmetic: native")),
         {"networks/*": 8, "features/*/*": 12, "finetuned/*": 12, "representations/*/*": 16, "records/*/*/*": 24, **TABLES, **SIMILARITY}),
    Case("views", config(("views: 2", "views: 3")),
         {"features/*/*": 12, "representations/*/*": 16, "records/*/*/linear_probe": 14, "records/*/*/ensemble": 4, "records/mnist/cat2/averaged_head": 1, "records/mnist/cat2/two_stage": 1, **TABLES, **SIMILARITY}),
    Case("type of the features", config(("dtype: float16", "dtype: float32")),
         {"features/*/*": 12, "representations/*/*": 16, "records/*/*/linear_probe": 14, "records/*/*/ensemble": 4, "records/mnist/cat2/averaged_head": 1, "records/mnist/cat2/two_stage": 1, **TABLES, **SIMILARITY}),
    Case("precision of pretraining", config(("precision: float32  # bfloat16: mixed precision", "precision: bfloat16")),
         {"networks/erm-s?": 2, "networks/wide2-s0": 1, "networks/erm-s?.mnist.*": 4, "features/*/erm-s*": 8, "features/*/wide2-s0": 2,
          "finetuned/*": 12, "representations/*/erm-s?": 4, "representations/*/cat2*": 4, "representations/*/wide2-s0*": 6,
          "records/*/erm-s?/*": 6, "records/*/cat2/*": 8, "records/*/wide2-s0*/*": 8, **TABLES, **SIMILARITY}),
    Case("precision of extraction", config(("dtype: float16\n  precision: float32", "dtype: float16\n  precision: bfloat16")),
         {"features/*/*": 12, "representations/*/*": 16, "records/*/*/linear_probe": 14, "records/*/*/ensemble": 4, "records/mnist/cat2/averaged_head": 1, "records/mnist/cat2/two_stage": 1, **TABLES, **SIMILARITY}),
    Case("transform of a target", config(("    transform: *transform\n", "    transform: {mean: 0.1, std: 0.3, pad: 2, flip: true}\n")),
         {name: count for name, count in OF_MNIST.items() if not name.startswith("targets/")}),
    Case("a seed added: it and the window {1, 2}", config(SEED),
         {**NEW_SEED, "representations/*/cat2-k1*": 4, "finetuned/cat2-k1.*": 4, "records/*/cat2-k1/*": 8, **TABLES}),
    Case("a seed added where `windows: first`", config(SEED, ("cat: {of: erm, sizes: [2], windows: all}", "cat: {of: erm, sizes: [2], windows: first}")),
         {**{name: count for name, count in NEW_SEED.items() if not name.startswith(("networks/erm-s2.", "features/"))}, "features/*/erm-s2": 2, **TABLES}),
    Case("a seed removed, with what was made of it",
         config(("seeds: [0, 1]}", "seeds: [0]}"), ("sizes: [2]", "sizes: [1]"), ("group: cat2", "group: cat1"), ("cat2", "cat1"), ("      - {method: CAT2, group: cat1, ensemble: true}\n", ""),
                ("          - {label: CATn^sub, transfer: linear_probe, groups: [cat1], ensemble: true}\n", ""), ("          - {label: CATn two-stage, transfer: two_stage, groups: [cat1], ensemble: false}\n", ""),
                ("      - {transfer: two_stage, target: mnist, shots: 10}\n", ""), ("kind: gains", "kind: networks"), ("      - {label: ERM fine-tuned, family: erm, seeds: [0, 1], finetuned: true}\n", ""), ("seeds: [0, 1], finetuned", "seeds: [0], finetuned")),
         {"representations/*/cat1": 2, "finetuned/cat1.*": 4, "records/*/cat1/*": 3, **TABLES, **SIMILARITY}),
    Case("columns of a network as members", config(("[[0, 32], [32, 64]]", "[[0, 32], [16, 64]]")),
         {"representations/*/wide2-s0": 2, "representations/*/wide2-s0.16-64": 2, "records/*/wide2-s0/*": 4, "records/*/wide2-s0.16-64/linear_probe": 2, **WIDE}),
    Case("one setting of fine-tuning added", config(("learning_rates: [0.05, 0.1]", "learning_rates: [0.05, 0.1, 0.2]")),
         {"finetuned/*-lr0.2-wd0.0005-e2": 6, "records/mnist/*/finetune": 3, "records/mnist/cat2/ensemble_finetune": 1, **FINETUNING}),
    Case("one setting of fine-tuning removed", config(("learning_rates: [0.05, 0.1]", "learning_rates: [0.1]")),
         {"records/mnist/*/finetune": 3, "records/mnist/cat2/ensemble_finetune": 1, **FINETUNING}),
    Case("images that networks are fine-tuned on", config(("targets: {mnist: 10}", "targets: {mnist: 5}"), ("target: mnist, shots: 10}\n      - {transfer: two_stage, target: mnist, shots: 10}", "target: mnist, shots: 5}\n      - {transfer: two_stage, target: mnist, shots: 5}"), ("panels: [{target: mnist, shots: 10}]", "panels: [{target: mnist, shots: 5}]")),
         {"networks/erm-s?.mnist.*": 4, "finetuned/*": 12, "features/mnist/erm-s?.mnist.*": 4, "representations/mnist/cat2.*": 2, "records/mnist/*/*finetune": 4, "records/mnist/cat2/averaged_head": 1, **TWO_STAGE, **SIMILARITY}),
    Case("a row of a table added", config(("      - {method: CAT2, group: cat2, ensemble: false}\n      - {method: CAT2, group: cat2, ensemble: true}\n  table2", "      - {method: WIDE2, group: wide2, ensemble: false}\n      - {method: CAT2, group: cat2, ensemble: false}\n      - {method: CAT2, group: cat2, ensemble: true}\n  table2")),
         {"finetuned/wide2-s0.mnist.*": 4, "records/mnist/wide2-s0/finetune": 1, "records": 1, "table1": 1}),
    Case("a row of a table removed", config(("      - {method: WIDE2, group: wide2, ensemble: true}\n", "")), {"records": 1, "table2": 1}),
    Case("a caption", config(("caption: Linear probing of", "caption: Probing of")), {"table2": 1}),
    Case("a series of a figure removed", config(("          - {label: WIDE2, transfer: linear_probe, groups: [wide2], ensemble: false}\n", "")), {"figures/accuracy": 1}),
    Case("a network more in a figure of similarities", config(("      - {label: WIDE2, family", "      - {label: RANDOM, family: random, seeds: [0], finetuned: false}\n      - {label: WIDE2, family")), SIMILARITY),
    Case("a label in a figure of similarities", config(("{label: WIDE2, family", "{label: WIDE, family")), {"figures/similarity": 1}),
    Case("features, and the similarities of them, deleted", both(replace("features/mnist/wide2-s0/test.h5", None), replace("similarities/mnist/similarity.json", None)),
         {"features/mnist/wide2-s0": 1, "representations/mnist/wide2-s0*": 3, "records/mnist/wide2-s0*/*": 4, **WIDE, **SIMILARITY}),
    Case("logits, and the figure of gains that reads them, deleted", both(replace("logits/mnist/cat2/linear_probe.h5", None), replace("figures/gains.svg", None)), {"records/mnist/cat2/linear_probe": 1, **PROBING}),
    Case("a selection rule removed from a table", config(("    selections: [heldout, paper]\n    windows: all\n    paper: null\n    columns:\n      - {transfer: linear_probe", "    selections: [heldout]\n    windows: all\n    paper: null\n    columns:\n      - {transfer: linear_probe")), {"table2": 1}),
]  # fmt: skip


def imported(modules: Iterable[str]) -> set[str]:
    """Modules of rrl, and those that they import, also by way of others, as far as they count."""
    reached: set[str] = set()
    waiting = set(modules)
    while waiting:
        reached |= waiting
        waiting = {name for module in waiting for name in imports_of(module)} - reached
    return reached


@cache
def counted() -> dict[str, set[str]]:
    """Artifact of the smoke experiment -> modules of rrl, without `rrl.`, that the version of its job depends on."""
    of: dict[tuple[str, ...], set[str]] = {}
    found = {}
    for job in SMOKE_JOBS:
        names = f"stages.{job.stage}", *sorted({part.module for part in job.parts})
        found[job.artifact] = of[names] = of.get(names) or imported(names)
    return found


@cache
def modules() -> dict[str, list[str]]:
    """Each module of rrl, and the stages with jobs whose version a change of what it computes changes."""
    paths = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    names = [".".join(path.with_suffix("").parts).removesuffix("__init__").rstrip(".") for path in paths]
    return {name: sorted({job.stage for job in SMOKE_JOBS if name in counted()[job.artifact]}) for name in names}


CASES = [case for pair in PAIRS for case in pair] + MORE

# Of `make test`: one of each way in which Snakemake can come to rerun a job, or not: code, text and attributes of a rule, settings,
# content of a card, times, missing files, another place.
CHOSEN = [
    "comments in every module", "threads of a rule", "a profile with threads, memory and time",
    "another spelling of a number", "a representation that no table shows", "all files of features touched",
    "features deleted, as nothing is to be made of them", "all targets touched", "all records touched",
    "every file touched, those above 20 kB taken for large", "everything moved to another place, without times",
    "everything but `.snakemake` moved to another place, with times",
]  # fmt: skip
CHOSEN_PAIRS = [pair for pair in PAIRS if pair[0].what in CHOSEN]


def plans(cases: Iterable[Case], tiny: Path, root: Path) -> dict[str, set[str] | Exception]:
    """What Snakemake would run in each case, or why that could not be seen; two cases at a time, each in a copy of its
    own, in which nothing may be left to run once the changes are undone."""
    results: dict[str, set[str] | Exception] = {}
    waiting = iter(cases)

    def work(number: int) -> None:
        folder = root / f"cases{number}" / "clone"
        folder.parent.mkdir()
        for case in iter(lambda: next(waiting, None), None):
            if not folder.exists():
                duplicate(tiny, folder)
            try:
                with case.change(folder) as changed:
                    results[case.what] = planned(changed, *case.options)
            except Exception as error:
                results[case.what] = error
                shutil.rmtree(folder)
        results[f"undone {number}"] = planned(folder)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert results["undone 0"] == results["undone 1"] == set()
    return results


def check(found: dict[str, set[str] | Exception], case: Case) -> None:
    """Fails the test unless exactly the artifacts of the case would be made."""
    artifacts = found[case.what]
    if isinstance(artifacts, Exception):
        raise artifacts
    assert fitting(artifacts, case.jobs) == case.jobs


def rows() -> list[str]:
    """The tables of docs/reruns.md."""

    def made(case: Case) -> str:
        return ", ".join(f"{count} `{pattern}`" for pattern, count in case.jobs.items()) or "nothing"

    pairs = [f"| {first.what} | {twin.what} | {made(twin)} |" for first, twin in PAIRS]
    more = [f"| {case.what} | {made(case)} |" for case in MORE]
    return pairs + more + module_rows()


def module_rows() -> list[str]:
    return [f"| `{name}` | {', '.join(stages)} |" for name, stages in modules().items() if stages]


MODULES_HEAD = "| module of `rrl` | stages |\n|---|---|\n"


if __name__ == "__main__":
    page = CLONE / "docs/reruns.md"
    text, found, _ = page.read_text().partition(MODULES_HEAD)
    assert found, page
    page.write_text(text + MODULES_HEAD + "".join(f"{row}\n" for row in module_rows()))
