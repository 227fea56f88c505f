"""A job: its card, its key, and the command line that all stages share.

A card is the small JSON file beside every artifact that says what made it, from what. Its `key` is a digest of all
that was planned: stage, settings, code version and the keys of the inputs. The workflow computes the same key from the
config alone, so a card that was made under another plan is recognised without running anything. Its `digest` is that of
the artifact's content, so a large file that was altered is recognised by whoever reads it next.

    python -m rrl.stages.probe --settings JSON --inputs CARD... --key KEY --output CARD --threads 1
"""

import argparse
import gc
import hashlib
import os
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from rrl import arithmetic
from rrl.code_version import code_version, parts_of
from rrl.config.settings import keyed, parse
from rrl.errors import UserError
from rrl.jobs import STAGES
from rrl.jobs.planned import plan_key
from rrl.jobs.stage import Stage
from rrl.store.files import canonical_json, is_full, read_json, write_json

FIELDS = {"artifact", "key", "stage", "settings", "code_version", "inputs", "digest", "facts"}
CHECKSUM = "checksum"  # of all other fields
FILE = "@"  # in front of a path: the argument is what the file holds; a command line has room for 128 kB
PLACES = {
    "data_root": (Path, "folder of the data sets"),
    "file": (str, "the checkpoint; empty for a library's own"),
    "gpus": (int, "GPUs to share the training at most, a process each; fewer are used where fewer are given"),
    "keep": (str, "card of the network to write, weights beside it; empty: the weights are not kept"),
}


@dataclass(frozen=True)
class Card:
    """A card as read from its file; `artifact` is its path below the results root, without suffix."""

    path: Path
    artifact: str
    key: str
    stage: str
    settings: dict[str, Any]
    code_version: str
    inputs: list[dict[str, str]]
    digest: str
    facts: dict[str, Any]

    @property
    def keyed(self) -> dict[str, Any]:
        """The settings as plain data, as of a job that is planned."""
        return self.settings

    @property
    def root(self) -> Path:
        """The results root that this card lies in."""
        return self.path.parents[self.artifact.count("/")]

    @property
    def folder(self) -> Path:
        """The folder beside the card that holds one file per split."""
        return self.path.with_suffix("")

    @property
    def name(self) -> str:
        """The last part of the artifact's name."""
        return self.artifact.rpartition("/")[2]


def read_card(path: Path) -> Card:
    """The card in a `.json` file that the workflow wrote; a record is one too.

    Raises UserError if the file is missing, is not a card, was altered, or is the card of another artifact.
    """
    try:
        content = read_json(path)
    except UserError as error:
        raise UserError(f"{error}; {remake(path)}") from None
    if not isinstance(content, dict) or set(content) != FIELDS | {CHECKSUM}:
        raise UserError(f"{path}: not a card of this project; {remake(path)}")
    if content.pop(CHECKSUM) != _checksum(content):
        raise UserError(f"{path}: altered since it was written; {remake(path)}")
    card = Card(path=path, **content)
    if card.artifact != "/".join(path.with_suffix("").parts[-card.artifact.count("/") - 1 :]):
        raise UserError(f"{path}: the card of {card.artifact}, not of what belongs here; {remake(path)}")
    return card


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]


def remake(path: Path) -> str:
    """The words that end a message about a file that cannot be used; the file must be an input of the job itself.

    (Snakemake does not make a missing file again that only jobs further up would read.)
    """
    return f"to rebuild it: rm -f {shlex.quote(str(path))}, then run the same snakemake command again"


@dataclass(frozen=True)
class Job:
    """A running stage: its settings, its inputs, and where its card goes.

    settings : of the stage's class in rrl/config/settings.py.
    data_root, file, gpus, keep : of the stages that need them; they decide no result.
    """

    stage: str
    settings: Any
    inputs: tuple[Card, ...]
    output: Path
    threads: int = 1
    data_root: Path = Path("data")
    file: str = ""
    gpus: int = 1
    keep: str = ""
    argv: Sequence[str] = field(default=(), repr=False)

    @property
    def artifact(self) -> str:
        return "/".join(self.output.with_suffix("").parts[-STAGES[self.stage].depth :])

    @property
    def name(self) -> str:
        """The last part of the artifact's name."""
        return self.artifact.rpartition("/")[2]

    @property
    def root(self) -> Path:
        """The results root."""
        return self.output.parents[self.artifact.count("/")]

    @property
    def keyed(self) -> dict[str, Any]:
        """The settings as plain data, as they stand in the card."""
        plain: dict[str, Any] = keyed(self.settings)
        return plain

    @property
    def code_version(self) -> str:
        architectures = [card.facts["arch"] for card in self.inputs if "arch" in card.facts]
        datasets = [card.settings["source"]["dataset"] for card in self.cards("targets")]
        return code_version(self.stage, parts_of(self.settings, architectures, datasets))

    @property
    def key(self) -> str:
        return plan_key(self.stage, self.keyed, self.code_version, [card.key for card in self.inputs])

    def cards(self, folder: str) -> list[Card]:
        """The inputs in a folder below the results root, such as "networks", in their order."""
        return [card for card in self.inputs if card.artifact.startswith(f"{folder}/")]

    def write_card(self, digest: str, facts: dict[str, Any], network: Path | None = None) -> None:
        """The last act of a stage: the artifact is complete once its card exists.

        network : the card to write in place of the job's own, of a network that the job keeps.
        """
        content = {
            "artifact": f"networks/{network.stem}" if network else self.artifact,
            "key": self.key,
            "stage": self.stage,
            "settings": self.keyed,
            "code_version": self.code_version,
            "inputs": [{"artifact": card.artifact, "key": card.key, "digest": card.digest} for card in self.inputs],
            "digest": digest,
            "facts": facts,
        }
        write_json(network or self.output, content | {CHECKSUM: _checksum(content)})


def parser_of(stage: str, description: str | None = None) -> argparse.ArgumentParser:
    """The command line of a stage: every flag required, no default anywhere."""
    parser = argparse.ArgumentParser(prog=f"python -m rrl.stages.{stage}", description=description)
    parser.add_argument("--settings", required=True, help="JSON, as in the card; or @FILE that holds it")
    parser.add_argument("--inputs", required=True, nargs="*", help="cards to read; or @FILE with a JSON list of them")
    parser.add_argument("--key", required=True, help="the key that the workflow planned")
    parser.add_argument("--output", required=True, type=Path, help="card to write, beside or above what is made")
    parser.add_argument("--threads", required=True, type=int, help="threads of each process")
    for name in STAGES[stage].needs:
        kind, text = PLACES[name]
        parser.add_argument("--" + name.replace("_", "-"), required=True, type=kind, help=text)
    return parser


def begin(stage: str, argv: Sequence[str] | None, description: str | None = None) -> Job:
    """The job that a command line describes.

    Raises UserError if its settings are not those of the stage, a card is damaged, the key is not the planned one, or
    this process does not compute as its arithmetic demands.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = vars(parser_of(stage, description).parse_args(words))
    planned, inputs = arguments.pop("key"), _paths_of(arguments.pop("inputs"))
    settings: Stage = parse(STAGES[stage], _text_of(arguments.pop("settings")))
    if hasattr(settings, "arithmetic"):
        arithmetic.check(stage, settings.arithmetic, arguments["threads"])
    cards = tuple(read_card(Path(path)) for path in inputs)
    job = Job(stage, settings, cards, argv=words, **arguments)
    if job.key != planned:
        raise UserError(
            f"rrl.stages.{stage}: the key of this job is {job.key}, planned was {planned}: its code, its settings or a "
            "card that it reads changed since it was planned. Run the same snakemake command again; if that does not "
            "help, `rrl why CONFIG` says what differs, and `rrl why CONFIG --paths` names the files to delete"
        )
    if "SLURM_JOB_ID" in os.environ and "LOCAL_RANK" not in os.environ:
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
        print(f"Slurm job {os.environ['SLURM_JOB_ID']} on {socket.gethostname()}, GPUs {gpus}", file=sys.stderr)
    return job


def _text_of(argument: str) -> str:
    """An argument, or what the file holds that it names. Raises UserError if that cannot be read."""
    if not argument.startswith(FILE):
        return argument
    path = Path(argument.removeprefix(FILE))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"{path}: cannot be read ({cause}); run the snakemake command again") from None


def _paths_of(inputs: list[str]) -> list[str]:
    """Paths, or those in the file that is named in their place. Raises UserError if it holds no list of them."""
    if len(inputs) != 1 or not inputs[0].startswith(FILE):
        return inputs
    try:
        return TypeAdapter(list[str]).validate_json(_text_of(inputs[0]))
    except ValidationError:
        path = inputs[0].removeprefix(FILE)
        raise UserError(f"{path}: not a JSON list of paths; run the snakemake command again") from None


def _say(*lines: str) -> NoReturn:
    """In as many lines, whatever letters a file's name has."""
    shown = ["".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line) for line in lines]
    sys.stderr.write("Error: " + "\n".join(shown) + "\n")  # in one piece: several processes may say it
    sys.exit(1)


def in_words(error: Exception) -> str:
    """What the operating system refuses, in one line."""
    name = getattr(error, "filename", None)
    place = "" if name is None else f"{os.fsdecode(name)}: "
    if is_full(error):
        return f"{place}no space left on the disk; make room, then run the same command again"
    what = f"{place}{error.strerror}" if place and isinstance(error, OSError) else str(error)
    return f"{what}; fix that, then run the same command again"


def _end_output() -> None:
    """Whoever reads the output has gone, or its disk is full: Python would try to write what is left of it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Call a stage's main; a mistake of the user, or what the operating system refuses, is one line, exit status 1."""
    try:
        main(None)
        sys.stdout.flush()
    except UserError as error:
        _say(*map(str, error.args))
    except BrokenPipeError:  # whoever reads the output has seen enough
        _end_output()
        sys.exit(1)
    except Exception as error:
        if not (isinstance(error, OSError) or is_full(error)):
            raise
        try:
            sys.stdout.flush()
        except OSError:
            _end_output()
        _say(in_words(error))
    finally:
        if "LOCAL_RANK" in os.environ:  # set by torchrun
            from rrl.training.processes import leave

            leave()
        gc.freeze()  # the process ends here: looking for garbage among torch's objects takes a third of a second
