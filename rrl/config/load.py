"""Load an experiment's config: one line for each mistake, all at once."""

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Tag, ValidationError

from rrl.config.kinds import DIFFER, MOST_CHARACTERS
from rrl.config.references import allowed, dangling, nearest
from rrl.config.schema import Claim, Column, Config, Row, Series, SimilarityFigure, Table
from rrl.errors import UserError
from rrl.plan import Plan

MOST_VALUES = 200_000  # of a config, those behind an alias of YAML counted each time
MOST_DEPTH = 50  # of values in values
TAGS = ("origin", "name", "dataset", "kind")  # keys that decide which others are allowed
MAPPING_NEEDED = ("model_type", "dict_type", "model_attributes_type")


def read_config(file: Path) -> dict[str, Any]:
    """The content of one config file, where Snakemake does not read it. Raises UserError."""
    _compose(file)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # also of a number or a date that Python does not know
        raise UserError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: found {_shown(content)}; allowed is a mapping, with the keys of docs/config.md")
    return content


def load_config(content: Mapping[str, Any], files: Sequence[Path]) -> Config:
    """The config that Snakemake merged from `files` and its command line.

    Raises UserError with one line for each mistake: where, what was found, what is allowed.
    """
    where = ", ".join(str(file) for file in files) or "config"
    mistakes = [mistake for file in files for mistake in duplicate_keys(file)]
    plain = _plain(content, where, [MOST_VALUES])
    config = None
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        mistakes += _of_schema(error, plain)
    mistakes += dangling(plain)
    if config is not None and not mistakes:
        mistakes += _nothing_to_show(config)
    if mistakes or config is None:
        lines = [f"  {_printable(line)}" for line in dict.fromkeys(mistakes)]
        raise UserError(f"{where}: {len(lines)} mistake{'s' if len(lines) > 1 else ''}", *lines)
    return config


def _nothing_to_show(config: Config) -> Iterator[str]:
    """A line for each row of a table, and each point of a figure, for which nothing is computed."""
    plan = Plan(config, {})
    needed = "allowed are groups of networks that are fine-tuned on the target"
    for name, table in config.tables.items():
        for number, row in enumerate(table.rows):
            if not any(plan.cell(row, column) for column in table.columns):
                yield f"tables.{name}.rows[{number}].group: found {row.group}, which would be an empty row; {needed}"
    for name, figure in config.figures.items():
        if isinstance(figure, SimilarityFigure):
            yield from _not_compared(f"figures.{name}", figure, plan)
            continue
        for number, part in enumerate(figure.rows):
            for count, series in enumerate(part.series):
                place = f"figures.{name}.rows[{number}].series[{count}].groups"
                for group, panel in itertools.product(series.groups, part.panels):
                    row = Row(method=group, group=group, ensemble=plan.separate(series, group))
                    if not plan.cell(row, Column(transfer=series.transfer, target=panel.target, shots=panel.shots)):
                        yield f"{place}: found {group}, which has no {series.transfer} on {panel.target}; {needed}"
                if figure.kind == "gains":
                    yield from _without_gain(place, config.tables[part.table], series, plan)
    for name, claim in config.claims.items():
        yield from _not_compared_by(f"claims.{name}", claim, plan)


def _not_compared_by(place: str, claim: Claim, plan: Plan) -> Iterator[str]:
    """A line for each side of a claim that has no record, or whose representations are no replicates."""
    for number, pair in enumerate(claim.pairs):
        for side, method in enumerate(pair):
            at = f"{place}.pairs[{number}][{side}]"
            row = Row(method=method.group, group=method.group, ensemble=method.ensemble)
            for panel in claim.panels:
                column = Column(transfer=method.transfer, target=panel.target, shots=panel.shots)
                if not plan.cell(row, column):
                    found = f"found {method.group}, which has no {method.transfer} on {panel.target}"
                    yield f"{at}: {found}; allowed are cells of tables.{claim.table} that are not empty"
            if shared := plan.shared(plan.shown(plan.config.tables[claim.table], method.group)):
                found = f"found {method.group}, of which {shared[0]} and {shared[1]} share networks"
                yield f"{at}.group: {found}; allowed are replicates that share none (windows: disjoint)"


def _without_gain(place: str, table: Table, series: Series, plan: Plan) -> Iterator[str]:
    """A line for each group of a series with a representation that is none of the group before and networks more."""
    if len(series.groups) < 2:
        yield f"{place}: found {', '.join(series.groups)}; a gain is from a group to the next, allowed are two or more"
    shown = [plan.shown(table, group) for group in series.groups]
    for names, group, pairs in zip(shown[1:], series.groups[1:], plan.gains(shown), strict=True):
        if alone := [name for name in names if name not in {after for _, after in pairs}]:
            yield (
                f"{place}: found {group}; allowed behind another group is one of the same networks and more, "
                f"{alone[0]} is of none"
            )


def _not_compared(place: str, figure: SimilarityFigure, plan: Plan) -> Iterator[str]:
    """A line for each group of networks of which there are none on any target, and for fewer than two networks."""
    for number, group in enumerate(figure.groups):
        networks = [network for target in figure.targets for network in plan.compared(target, group)]
        kept = [network for network in networks if not group.finetuned or network in plan.kept]
        if not networks or kept != networks:
            found = f"found {str(group.finetuned).lower()}, {group.family}, seeds {', '.join(map(str, group.seeds))}"
            yield f"{place}.groups[{number}].finetuned: {found}; with true allowed are {KEPT}"
    for number, target in enumerate(figure.targets):
        if len([network for group in figure.groups for network in plan.compared(target, group)]) < 2:
            yield f"{place}.targets[{number}]: found {target}, with fewer than two networks; allowed are two or more"


KEPT = "networks of a concatenation that are fine-tuned on one of the targets"


def duplicate_keys(file: Path) -> Iterator[str]:
    """A line for each key that a YAML file gives twice: of the two, YAML would silently take the last."""
    waiting = [("", _compose(file))]
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
                    yield f"{place}{key.value}: given twice, in lines {lines[key.value]} and {line}; allowed is once"
                lines[key.value] = line
                waiting.append((f"{place}{key.value}.", value))
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(f"{place.removesuffix('.')}[{number}].", item) for number, item in enumerate(node.value)]


def _compose(file: Path) -> yaml.Node | None:
    """A YAML file as nodes; nothing in it is built. Raises UserError."""
    try:
        node: yaml.Node | None = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise UserError(f"{file}: missing; name the config of an experiment") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); name the config of an experiment") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: not in UTF-8; save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise UserError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{file}: values in values, too deep; allowed are {MOST_DEPTH} levels") from None
    return node


def _plain(value: Any, where: str, left: list[int], depth: int = 0) -> Any:
    """Snakemake's ordered dictionaries as plain ones. `left`: how many values more there may be.

    Aliases of aliases stand for more values than any memory holds, and for values that hold themselves.
    """
    left[0] -= 1
    if left[0] < 0:
        raise UserError(f"{where}: more than {MOST_VALUES} values, with those behind aliases; allowed are so many")
    if depth > MOST_DEPTH:
        raise UserError(f"{where}: values in values, too deep; allowed are {MOST_DEPTH} levels")
    if isinstance(value, Mapping):
        return {key: _plain(item, where, left, depth + 1) for key, item in value.items()}
    return [_plain(item, where, left, depth + 1) for item in value] if isinstance(value, list | tuple) else value


def _of_schema(error: ValidationError, content: dict[str, Any]) -> list[str]:
    """A line for each error of pydantic. What they are about is taken out of `content`, so that what is left has the
    right shape."""
    lines: dict[str, str] = {}
    meant: set[str] = set()  # keys that are there, misspelt
    wrong: list[list[Any]] = []
    for detail in error.errors():
        keys, kind = _keys(detail["loc"])
        line, key = _line(detail, keys, kind)
        lines.setdefault(_place(keys) if detail["type"] == "missing" else line, line)
        meant |= {_place([*keys[:-1], key])} if key else set()
        shaped = detail["loc"][-1:] == ("[key]",) or detail["msg"].endswith(DIFFER)
        wrong += [] if shaped else [keys]
    for keys in wrong:
        _take_out(content, keys)
    return [line for place, line in lines.items() if place not in meant]


def _take_out(content: Any, keys: list[Any]) -> None:
    """The value is replaced by none: names of entries and positions in lists stay what they are."""
    for key in keys[:-1]:
        content = content.get(key) if isinstance(content, dict) else content[key] if content else None
    if keys and content is not None and (isinstance(content, list) or keys[-1] in content):
        content[keys[-1]] = None


def _line(detail: Any, keys: list[Any], kind: Any) -> tuple[str, str]:
    """One validation error of pydantic as: where, found, allowed; and the key that a misspelt one stands for.

    kind : the type of what holds the last key, or of the value itself where it is a union.
    """
    place, found = _place(keys), _shown(detail["input"])
    message = detail["msg"].removeprefix("Value error, ")
    if not keys:  # pydantic does not say where a key is that is no text
        return f"a key: found {found}; allowed are letters that UTF-8 has", ""
    if detail["type"] == "extra_forbidden":
        fields = list(kind.model_fields)
        return f"{place}: unknown key; {allowed(str(keys[-1]), fields)}", nearest(str(keys[-1]), fields)
    if detail["type"] == "union_tag_not_found":
        tag = detail["ctx"]["discriminator"].strip("'")
        for key in detail["input"]:
            if nearest(str(key), [tag]):
                return f"{place}.{key}: unknown key; did you mean {tag}? it decides which other keys are allowed", ""
        return f"{place}.{tag}: missing; this key is required", ""
    if detail["type"] == "union_tag_invalid":
        tag = detail["ctx"]["discriminator"].strip("'")
        names = [name.strip(" '") for name in detail["ctx"]["expected_tags"].split(",")]
        found = _shown(detail["input"][tag])
        return f"{place}.{tag}: found {found}; {allowed(str(detail['input'][tag]), names)}", ""
    if detail["type"] == "missing":
        return f"{place}: missing; this key is required", ""
    if detail["type"] in MAPPING_NEEDED:
        return f"{place}: found {found}; allowed is a mapping of keys to values", ""
    if detail["type"] == "invalid_key":
        return f"{place}: unknown key; {allowed(str(keys[-1]), list(kind.model_fields))}", ""
    if detail["loc"][-1] == "[key]":
        of = f"a-z, 0-9, _ and single -, a letter first, at most {MOST_CHARACTERS}"
        return f"{place}: found name {found}; allowed are {of}", ""
    return f"{place}: found {found}; {message[0].lower() + message[1:]}", ""


def _keys(location: tuple[Any, ...]) -> tuple[list[Any], Any]:
    """Of the location of an error: the keys that lead there, without branches of unions and the mark of a key; and
    the type of what holds the last key, or that of the value where it is a union."""
    keys: list[Any] = []
    kind: Any = Config
    holder: Any = Config
    for step in location:
        if get_origin(kind) in (Union, UnionType):
            kind = _branch(kind, step)
        elif step == "[key]" and get_origin(holder) is dict:
            break
        else:
            keys.append(step)
            holder, kind = kind, _inside(kind, step)
    return keys, kind if get_origin(kind) in (Union, UnionType) else holder


def _place(keys: Sequence[Any]) -> str:
    place = ""
    for key in keys:
        name = key if isinstance(key, str) and key.strip() and ":" not in key else repr(key)
        place += f"[{key}]" if isinstance(key, int) else f".{name}" if place else name
    return place


def _inside(kind: Any, step: Any) -> Any:
    """The type of what lies at `step` (a key or a position) of a value of type `kind`."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _bare(kind.model_fields[step].annotation) if step in kind.model_fields else None
    if get_origin(kind) is dict:
        return _bare(get_args(kind)[1])
    return _bare(get_args(kind)[0]) if get_origin(kind) is list else None


def _branch(kind: Any, step: Any) -> Any:
    """The type in a union that pydantic calls `step`."""
    for of in get_args(kind):
        branch = _bare(of)
        tags = [tag.tag for tag in get_args(of) if isinstance(tag, Tag)]
        fields = getattr(branch, "model_fields", {})
        tags += [tag for key in TAGS if key in fields for tag in get_args(fields[key].annotation)]
        if step in tags:
            return branch
    return None


def _bare(kind: Any) -> Any:
    return _bare(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def _shown(value: Any) -> str:
    """A value as it is told, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _printable(line: str) -> str:
    """In one line that no terminal obeys, whatever is in the names that it tells."""
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
    return text if len(text) <= 2000 else f"{text[:2000]} ..."


def run_command(path: Path) -> str:
    """What runs the experiment of a config file, from the folder that this process is in, as words for a shell."""
    clone = Path(__file__).resolve().parents[2]
    snakefile = [] if Path.cwd() == clone else ["--snakefile", str(clone / "Snakefile")]
    config = [] if path == Path("config.yaml") else ["--configfile", str(path)]  # which the Snakefile takes by itself
    return shlex.join(["snakemake", "--cores", "all", *snakefile, *config])


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
