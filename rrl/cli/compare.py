"""Networks of the user on images of the user: which is best, and does concatenating them help?

Writes an experiment's config, runs the workflow on it and reads its records: everything is cached, restartable and
can be changed like any other experiment.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rrl.bars import Bar
from rrl.caveats import VAL
from rrl.cli.compare_config import ALL, BEST, NETWORK_KEYS, TABLE, Compared, write_config
from rrl.cli.run import CLONE, command_for
from rrl.differences import compare_records
from rrl.errors import UserError
from rrl.job import Card, read_card
from rrl.statistics import interval

STEPS_DONE = re.compile(r"(\d+) of (\d+) steps")  # as Snakemake prints it


def network_lines(networks: Sequence[Compared]) -> Iterator[str]:
    for network in networks:
        how = ", ".join(f"{key} {_text(network.transform[key])}" for key in NETWORK_KEYS)
        yield f"{network.label}: {network.arch}; {how}"


def _text(value: Any) -> str:
    return "/".join(f"{part:g}" for part in value) if isinstance(value, list) else str(value)


def run(config: dict[str, Any], cores: int | None) -> Path:
    """Write the config and run it, with a bar; the path of the config.

    Raises UserError if a job fails; which one, and why, is printed by then.
    """
    path = write_config(config)
    command = [sys.executable, "-m", "rrl.cli", "run", str(path), *(["--cores", str(cores)] if cores else [])]
    modules = os.pathsep.join([str(CLONE), *filter(None, [os.environ.get("PYTHONPATH")])])
    output: list[str] = []
    with (
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": modules},
        ) as process,
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
            raise UserError(f"interrupted. To go on: the same command; what is done is kept ({path})") from None
    if process.returncode:
        reasons = [line for line in output if ".log: Error: " in line]
        print(*(reasons or output), sep="", end="", file=sys.stderr)
        raise UserError(
            f"not finished, for the reason above. To go on: the same command; what is done is kept ({path})"
        )
    return path


def _read_on(process: subprocess.Popen[str]) -> None:
    """Until Snakemake, which Ctrl-C reaches too, has ended in its own time: it has more to say. Whoever presses Ctrl-C
    again in the meantime still learns how to go on."""
    while True:
        try:
            process.communicate()
            return
        except KeyboardInterrupt:
            continue


def result(path: Path, config: dict[str, Any], networks: Sequence[Compared]) -> dict[str, Any]:
    """What `rrl compare --json` prints, from the records of the workflow. Accuracies are fractions."""
    root, count = Path(config["results"]), len(networks)
    (target,) = config["targets"]
    alone = {network.label: _record(root, target, network.network, "linear_probe") for network in networks}
    together, best = (_record(root, target, name, "linear_probe") for name in (ALL, BEST))
    labels = {network.network: network.label for network in networks}
    members = [labels[name] for name in _heldout(best)["selected"]["members"]]
    records = {
        **alone,
        f"all {count} concatenated (CAT{count})": together,
        f"ensemble of all {count} (CAT{count}^sub)": _record(root, target, ALL, "ensemble"),
        f"best subset on val: {' + '.join(members)}": best,
    }
    first = max(alone, key=lambda label: float(_heldout(alone[label])["val_top1"]))
    (entry,) = [entry for entry in compare_records(together, [alone[first]]) if entry["selection"] == "heldout"]
    return {
        "config": str(path),
        "results": str(root),
        "data": read_card(root / f"targets/{target}.json").facts,
        "accuracies": [_accuracy(name, record) for name, record in records.items()],
        "best_subset": members,
        "gain": {"first": f"CAT{count}", "second": first, **entry},
    }


def _record(root: Path, target: str, representation: str, transfer: str) -> Card:
    return read_card(root / f"records/{target}/{representation}/{transfer}.json")


def _heldout(record: Card) -> dict[str, Any]:
    """The result of the rule `heldout`."""
    (entry,) = [entry for entry in record.facts["results"] if entry["selection"] == "heldout"]
    return dict(entry)


def _accuracy(name: str, record: Card) -> dict[str, Any]:
    entry = _heldout(record)
    bounds = interval(entry["top1"], entry["n_test"])
    accuracies = {"val_top1": entry["val_top1"], "top1": entry["top1"], "top1_interval": bounds}
    return {"name": name, "record": f"{record.artifact}.json", **accuracies}


def lines(content: dict[str, Any]) -> Iterator[str]:
    """The comparison as text."""
    yield from _data_lines(content["data"])
    width = max(len(entry["name"]) for entry in content["accuracies"])
    yield f"{'':{width}}    val   test   95 % interval"
    for entry in content["accuracies"]:
        low, high = (100 * bound for bound in entry["top1_interval"])
        val, test = 100 * entry["val_top1"], 100 * entry["top1"]
        yield f"{entry['name']:{width}}  {val:5.1f}  {test:5.1f}   {low:.1f} to {high:.1f}"
    yield from [VAL, "", _verdict(content["gain"])]
    yield "The interval is from the number of test images alone; another set of seeds is another matter."
    results, config = content["results"], content["config"]
    yield f"Report: {results}/{TABLE}.md (.csv, .tex); records: {results}/records.csv; config: {config}"
    yield f"To change something, edit the config and run: {command_for('run', Path(config))}"


def _data_lines(facts: dict[str, Any]) -> Iterator[str]:
    counts = facts["counts"]
    yield (
        f"{sum(counts.values())} images in {facts['classes']} classes: {counts['train']} to train on, "
        f"{counts['val']} to pick setting and epoch on (val), {counts['test']} to test on, read once"
    )
    for kind, count in facts["converted"].items():
        yield f"  {count} images: {kind}"
    for image, reason in facts["left_out"].items():
        yield f"  left out: {image}: {reason}"
    if names := facts["no_images_by_name"]:
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        yield f"  not images by their names: {len(names)} ({some})"


def _verdict(gain: dict[str, Any]) -> str:
    low, high = (100 * bound for bound in gain["difference_interval"])
    difference = 100 * gain["difference"]
    what = (
        "concatenating helps"
        if low > 0
        else "concatenating hurts"
        if high < 0
        else f"no difference can be shown with {gain['n_test']} test images"
    )
    return (
        f"{gain['first']} minus {gain['second']}, the network that is best on val: {difference:+.1f} points, "
        f"95 % interval {low:+.1f} to {high:+.1f}, McNemar p {gain['mcnemar_p']:.2g}: {what}."
    )
