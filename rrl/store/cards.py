"""Cards: the small JSON file beside every artifact that says what made it, from what.

A card's `key` is a digest of everything that was planned: stage, settings, code version and the
keys of the inputs. The workflow computes the same key from the config alone, so a card that was
made under another plan is recognised without rerunning anything. Its `digest` is that of the
artifact's content, so a large file that was altered is recognised by whoever reads it next.
"""

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrl.errors import UserError
from rrl.store.files import canonical_json, read_json, write_json

FIELDS = {"artifact", "key", "stage", "settings", "code_version", "inputs", "digest", "facts"}
CHECKSUM = "checksum"  # of all other fields


def plan_key(stage: str, settings: dict[str, Any], code_version: str, input_keys: Sequence[str]) -> str:
    """Digest (16 hex digits) of what is planned; equal in the workflow and in the stage."""
    plan = {"stage": stage, "settings": settings, "code_version": code_version, "inputs": list(input_keys)}
    return hashlib.sha256(canonical_json(plan).encode()).hexdigest()[:16]


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
    def root(self) -> Path:
        """The results root that this card lies in."""
        return self.path.parents[self.artifact.count("/")]

    @property
    def folder(self) -> Path:
        """The folder beside the card that holds one file per split."""
        return self.path.with_suffix("")


def read_card(path: Path) -> Card:
    """The card in a `.json` file that the workflow wrote; a record is one too.

    Raises UserError if the file is missing, is not a card, or was altered.
    """
    try:
        content = read_json(path)
    except UserError as error:
        raise UserError(f"{error}; {remake(path)}") from None
    if not isinstance(content, dict) or set(content) != FIELDS | {CHECKSUM}:
        raise UserError(f"{path}: not a card of this project; {remake(path)}")
    if content.pop(CHECKSUM) != _checksum(content):
        raise UserError(f"{path}: altered since it was written; {remake(path)}")
    return Card(path=path, **content)


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Job:
    """What a running stage was told: its settings, its code and its inputs."""

    stage: str
    settings: dict[str, Any]
    code_version: str
    inputs: tuple[Card, ...]

    @property
    def key(self) -> str:
        return plan_key(self.stage, self.settings, self.code_version, [card.key for card in self.inputs])

    def write_card(self, path: Path, artifact: str, digest: str, facts: dict[str, Any]) -> None:
        """The last act of a stage: the artifact is complete once its card exists."""
        inputs = [{"artifact": card.artifact, "key": card.key, "digest": card.digest} for card in self.inputs]
        content = {
            "artifact": artifact,
            "key": self.key,
            "stage": self.stage,
            "settings": self.settings,
            "code_version": self.code_version,
            "inputs": inputs,
            "digest": digest,
            "facts": facts,
        }
        write_json(path, content | {CHECKSUM: _checksum(content)})


def remake(path: Path) -> str:
    """The words that end a message about a file that cannot be used; the file must be an input of the job itself.

    (Snakemake does not make a missing file again that only jobs further up would read.)
    """
    return f"to rebuild it: rm -f {shlex.quote(str(path))}, then run the same snakemake command again"
