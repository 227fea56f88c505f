"""Load an experiment's config: one line for each mistake, and as many at once as can be found."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rrl.config import references, schema_mistakes, shown_references
from rrl.config.schema import Config
from rrl.config.shown import Shown
from rrl.errors import UserError
from rrl.plan import Plan

MOST_VALUES = 200_000  # in a config, where what an alias of YAML stands for is counted each time
MOST_DEPTH = 50  # of values in values
TEMPLATE = "__use_yte__"  # for Snakemake, a file with this key is a YTE template


def read_config(file: Path) -> dict[str, Any]:
    """The content of one config file, where Snakemake does not read it. Raises UserError."""
    _, content = _parse(file)
    if not isinstance(content, dict):
        value = schema_mistakes.shown(content)
        raise UserError(f"{file}: found {value}; must be a mapping, with the keys of docs/config.md")
    return content


def load_config(content: Mapping[str, Any], files: Sequence[Path]) -> Config:
    """The config that Snakemake merged from `files` and its command line.

    Raises UserError with one line for each mistake: where, what was found, what is valid. References are checked once
    the schema accepts the config, and what tables, figures and claims show once what they are made of is right.
    """
    where = ", ".join(str(file) for file in files) or "config"
    mistakes = [mistake for file in files for mistake in _parse(file)[0]]
    plain = _plain(content, where, [MOST_VALUES])
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        raise _refusal(where, mistakes + schema_mistakes.mistakes(error)) from None
    base = list(references.mistakes(config))
    mistakes += base
    mistakes += shown_references.mistakes(config, None if base else Shown(config))
    if mistakes:
        raise _refusal(where, mistakes)
    return config


def _refusal(where: str, mistakes: list[str]) -> UserError:
    lines = [f"  {_printable(line)}" for line in dict.fromkeys(mistakes)]
    return UserError(f"{where}: {len(lines)} mistake{'s' if len(lines) > 1 else ''}", *lines)


def _printable(line: str) -> str:
    """A single line without control characters, whatever is in the names that it quotes."""
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
    return text if len(text) <= 2000 else f"{text[:2000]} ..."


def duplicate_keys(node: yaml.Node | None) -> Iterator[str]:
    """A line for each key that a YAML file gives twice: of the two, YAML would silently take the last."""
    waiting = [("", node)]
    seen: set[int] = set()  # what an alias names is looked at once
    while waiting:
        place, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    continue  # YAML refuses it as a key
                if key.value in lines:
                    yield f"{place}{key.value}: given twice, in lines {lines[key.value]} and {line}; must be given once"
                lines[key.value] = line
                waiting.append((f"{place}{key.value}.", value))
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(f"{place.removesuffix('.')}[{number}].", item) for number, item in enumerate(node.value)]


def _parse(file: Path) -> tuple[list[str], Any]:
    """A line for each key that a YAML file gives twice, and its content. Raises UserError."""
    try:
        loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
        node: yaml.Node | None = loader.get_single_node()
        twice = list(duplicate_keys(node))  # before merge keys are resolved
        content = loader.construct_document(node) if node else None
    except FileNotFoundError:
        raise UserError(f"{file}: missing; name the config of an experiment") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); name the config of an experiment") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: not in UTF-8; save it as UTF-8") from None
    except RecursionError:
        raise UserError(f"{file}: {TOO_DEEP}") from None
    except (yaml.YAMLError, ValueError) as error:  # the latter for a number or a date that Python does not know
        raise UserError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if isinstance(content, dict) and TEMPLATE in content:
        raise UserError(f"{file}: {TEMPLATE}: found; must not be in a config: Snakemake executes Python in such a file")
    return twice, content


TOO_DEEP = f"values in values, too deep; must be at most {MOST_DEPTH} levels"


def _plain(value: Any, where: str, left: list[int], depth: int = 0) -> Any:
    """Snakemake's ordered dictionaries as plain ones. `left`: how many more values there may be.

    Aliases of aliases stand for more values than any memory holds, and for values that hold themselves.
    """
    left[0] -= 1
    if left[0] < 0:
        raise UserError(f"{where}: more than {MOST_VALUES} values, with those that aliases stand for; must be fewer")
    if depth > MOST_DEPTH:
        raise UserError(f"{where}: {TOO_DEEP}")
    if isinstance(value, Mapping):
        return {key: _plain(item, where, left, depth + 1) for key, item in value.items()}
    return [_plain(item, where, left, depth + 1) for item in value] if isinstance(value, list | tuple) else value


def load_plan(path: Path, grid: str | None = None) -> Plan:
    """The experiment of a config, with another grid than its own if given.

    Raises UserError for a config that is missing or has mistakes.
    """
    content = read_config(path)
    pinned = yaml.safe_load((Path(__file__).parents[2] / "workflow/pins.yaml").read_text(encoding="utf-8"))
    return Plan(load_config(content if grid is None else content | {"grid": grid}, [path]), pinned)


def load_plans(path: Path) -> dict[str, Plan]:
    """Grid -> plan; where no list of the config is by grid, there is one, `own`. Raises UserError like load_plan."""
    own = load_plan(path)
    if own.config.grid == "own":
        return {"own": own}
    return {grid: load_plan(path, grid) for grid in ("recommended", "published")}
