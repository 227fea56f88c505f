"""The command line that all stages share: every flag required, no default anywhere."""

import argparse
import dataclasses
import gc
import json
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from rrl import arithmetic
from rrl.code_version import code_version
from rrl.errors import UserError
from rrl.store.cards import Card, Job, read_card, remake
from rrl.store.files import is_full


def boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"


def boolean_or(word: str) -> Callable[[str], bool | str]:
    def parsed(text: str) -> bool | str:
        if text not in ("true", "false", word):
            raise argparse.ArgumentTypeError(f"{text!r} is none of true, false, {word}")
        return text if text == word else boolean(text)

    return parsed


def arithmetic_of(text: str) -> str:
    if text not in (arithmetic.PORTABLE, arithmetic.NATIVE):
        raise argparse.ArgumentTypeError(f"{text!r} is neither {arithmetic.PORTABLE} nor {arithmetic.NATIVE}")
    return text


def count_or_all(text: str) -> int | str:
    return text if text == "all" else int(text)


Settings = TypeVar("Settings")

PARSERS: dict[Any, Callable[[str], Any]] = {
    int: int,
    float: float,
    bool: boolean,
    str: str,
    bool | Literal["published"]: boolean_or("published"),
}


class Command:
    """Flags of one stage, of three kinds.

    card: a card to read; checked against `--input-keys`, in the order in which the flags were declared.
    setting: a number or name of the experiment; part of the key of what is made.
    place: a path or a number of threads; part of no key.
    """

    def __init__(self, stage: str, description: str | None):
        self.stage = stage
        self.parser = argparse.ArgumentParser(prog=f"python -m rrl.stages.{stage}", description=description)
        self.cards: list[str] = []
        self.settings: list[str] = []
        self._add("--code-version", str, "digest of the stage's code that the workflow planned with")
        self._add("--input-keys", str, "the keys that the cards given must have, in order", many=True)
        if stage in arithmetic.STAGES:
            self.setting(
                "--arithmetic", arithmetic_of, "portable: the same bytes on every processor with AVX2; or native"
            )

    def card(self, flag: str, text: str, many: bool = False) -> None:
        self.cards.append(self._add(flag, Path, text, many))

    def setting(self, flag: str, kind: Callable[[str], Any], text: str, many: bool = False) -> None:
        self.settings.append(self._add(flag, kind, text, many))

    def fields(self, of: type[Any], texts: dict[str, str]) -> None:
        """A setting for each field of a dataclass, told by `texts`."""
        for field in dataclasses.fields(of):
            self.setting("--" + field.name.replace("_", "-"), PARSERS.get(field.type, json.loads), texts[field.name])

    def place(self, flag: str, kind: Callable[[str], Any], text: str, many: bool = False) -> None:
        self._add(flag, kind, text, many)

    def _add(self, flag: str, kind: Callable[[str], Any], text: str, many: bool = False) -> str:
        self.parser.add_argument(flag, type=kind, nargs="*" if many else None, required=True, help=text)
        return flag.removeprefix("--").replace("-", "_")

    def parse(self, argv: Sequence[str] | None) -> tuple[argparse.Namespace, Job]:
        """The flags, card flags as Card objects, and the job that they describe.

        Raises UserError if the code is not what was planned with, a card was made under another plan, or this process
        does not compute as its arithmetic demands.
        """
        arguments = self.parser.parse_args(argv)
        found = code_version(self.stage)
        if found != arguments.code_version:
            raise UserError(
                f"rrl.stages.{self.stage}: code changed since submission (planned {arguments.code_version}, found {found}); "
                "run the same snakemake command again"
            )
        if self.stage in arithmetic.STAGES:
            arithmetic.check(self.stage, arguments.arithmetic, arguments.threads)
        inputs: list[Card] = []
        for name in self.cards:
            value = getattr(arguments, name)
            cards = [read_card(path) for path in (value if isinstance(value, list) else [value])]
            setattr(arguments, name, cards if isinstance(value, list) else cards[0])
            inputs += cards
        check_keys(inputs, arguments.input_keys)
        if "SLURM_JOB_ID" in os.environ and "LOCAL_RANK" not in os.environ:
            gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
            print(f"Slurm job {os.environ['SLURM_JOB_ID']} on {socket.gethostname()}, GPUs {gpus}", file=sys.stderr)
        settings = {name: getattr(arguments, name) for name in self.settings}
        return arguments, Job(self.stage, settings, arguments.code_version, tuple(inputs))


def check_keys(cards: Sequence[Card], keys: Sequence[str]) -> None:
    """Raises UserError if a card was made under another plan than the one that gave `keys`."""
    if len(cards) != len(keys):
        raise UserError(f"--input-keys: found {len(keys)} keys for {len(cards)} cards; one key per card is needed")
    for card, key in zip(cards, keys, strict=True):
        if card.key != key:
            raise UserError(
                f"{card.path}: made under another plan (key {card.key}, planned {key}: "
                f"other settings, code or inputs); {remake(card.path)}"
            )


def flags(settings: dict[str, Any]) -> list[str]:
    """Settings as the words of a command line; the inverse of the parsers above."""
    words: list[str] = []
    for name, value in settings.items():
        values = value if isinstance(value, list) else [value]
        words += ["--" + name.replace("_", "-"), *(_word(item) for item in values)]
    return words


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def build(of: Callable[..., Settings], arguments: argparse.Namespace) -> Settings:
    """The dataclass whose fields were declared with Command.fields."""
    return of(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(of)})  # type: ignore[arg-type]


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
