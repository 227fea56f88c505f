"""Records: one transfer of one representation to one target, with every setting that was tried.

A record is a card whose facts hold the results, one entry per number of shots and selection rule.
Its digest is that of the logits. Times and host are kept apart, in {transfer}.run.json, so that the
record itself is the same, byte for byte, whenever and wherever it is made again.
"""

import platform
import socket
import time
from pathlib import Path
from typing import Any

from rrl.files import write_json
from rrl.provenance import Card, Job

# The split on which each selection rule picks setting and epoch.
SELECTED_ON = {"heldout": "val", "paper": "test"}


def write_record(
    path: Path,
    job: Job,
    representation: Card,
    transfer: str,
    results: list[dict[str, Any]],
    digest: str,
    started: float,
) -> None:
    """results : entries with at least shots, selection, top1 (a fraction), n_train, n_val, n_test, selected."""
    _, target, name = representation.artifact.split("/")
    facts = {
        "target": target,
        "representation": name,
        "transfer": transfer,
        "members": [member["member"] for member in representation.facts["members"]],
        "seeds": representation.facts["seeds"],
        "parameters": representation.facts["parameters"],
        "feature_dim": representation.facts["feature_dim"],
        "results": results,
    }
    run = {
        "seconds": round(time.time() - started, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "python": platform.python_version(),
    }
    write_json(path.with_suffix(".run.json"), run)
    job.write_card(path, f"records/{target}/{name}/{transfer}", digest, facts)


def rows(record: Card) -> list[dict[str, Any]]:
    """A flat row per number of shots and selection rule; `seeds` as one word, `top1` a fraction."""
    facts = record.facts
    return [
        {
            "target": facts["target"],
            "shots": entry["shots"],
            "representation": facts["representation"],
            "transfer": facts["transfer"],
            "selection": entry["selection"],
            "top1": entry["top1"],
            "n_test": entry["n_test"],
            "parameters": facts["parameters"],
            "feature_dim": facts["feature_dim"],
            "seeds": "+".join(str(seed) for seed in facts["seeds"]),
        }
        for entry in facts["results"]
    ]
