"""Checks of what is computed: names that another section must declare, and numbers that must fit together.

Every check yields lines: the place, what was found, what is valid. The schema has accepted the config.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from rrl.config import schema
from rrl.config.names import OTHERS, Names, grid_settings
from rrl.config.nearest import unknown
from rrl.config.schema import Config
from rrl.config.settings import LbfgsProbe, PaddedCrop, Photographs
from rrl.errors import UserError
from rrl.networks.architectures import parse_architecture
from rrl.networks.checkpoints import checkpoints

Family = schema.Pretrained | schema.Distilled | schema.Random | schema.Downloaded | schema.User | schema.Library
LIBRARIES = ("timm/", "torchvision/")
BRINGS_TRANSFORM = "must be of origin user or library, whose networks bring their own"


def mistakes(config: Config) -> Iterator[str]:
    """Mistakes in targets, networks, representations and fine-tunings. Without any, `Names` can be asked anything."""
    for name, target in config.targets.items():
        yield from _target(name, target, config)
    for name, family in config.networks.items():
        yield from _family(f"networks.{name}", family, config)
    yield from _representations(config)
    yield from _finetunings(config)


def _target(name: str, target: Any, config: Config) -> Iterator[str]:
    place, transform = f"targets.{name}", target.transform
    yield from _probe(f"{place}.probe", target.probe, config)
    if isinstance(transform, Photographs):
        yield from transform_mistakes(f"{place}.transform", **vars(transform))
    views = config.features.views
    if isinstance(transform, PaddedCrop) and not transform.augments and views > 1:
        yield f"features.views: found {views}; must be 1, as {place}.transform augments nothing (pad 0, flip false)"
    for number, shots in enumerate(target.shots):
        yield from _shots(f"{place}.shots[{number}]", shots, target)


def _shots(place: str, shots: int | str, target: Any) -> Iterator[str]:
    if isinstance(target, schema.DemoTarget) and isinstance(shots, int) and shots > target.train_per_class:
        available = target.train_per_class
        yield f"{place}: found {shots}; must be at most {available}, its images per class (train_per_class)"


def _probe(place: str, probe: str | dict[str, str], config: Config) -> Iterator[str]:
    if isinstance(probe, str):
        yield from unknown(place, probe, config.probes)
        return
    if OTHERS not in probe:
        yield f"{place}.{OTHERS}: missing; this key is required, for all families that are not named"
    if OTHERS in config.networks:
        yield f"networks.{OTHERS}: found name {OTHERS!r}, which means all other families in {place}; take another name"
    for family, name in probe.items():
        yield from unknown(place, family, [*config.networks, OTHERS])
        yield from unknown(f"{place}.{family}", name, config.probes)
    solvers = {name: isinstance(config.probes.get(name), LbfgsProbe) for name in probe.values()}
    if len(set(solvers.values())) > 1:
        yield f"{place}: found {', '.join(solvers)}; must be probes that all have a solver, or none"


def transform_mistakes(
    place: str, size: int, resize: int, scale: Sequence[float], mean: Sequence[float], std: Sequence[float], **_: Any
) -> Iterator[str]:
    """Settings of a transform of photographs that do not fit together."""
    if resize < size:
        yield f"{place}.resize: found {resize}, less than the crop's size; must be at least {size}"
    if len(mean) != len(std):
        yield f"{place}.std: found {len(std)} numbers for {len(mean)} of mean; must be as many"
    if len(scale) != 2 or not scale[0] <= scale[1] <= 1:
        yield f"{place}.scale: found {scale}; must be two fractions, the smaller first"


def _family(place: str, family: Family, config: Config) -> Iterator[str]:
    if isinstance(family, schema.Library):
        for number, model in enumerate(family.models):
            if not model.startswith(LIBRARIES) or _not_an_architecture(model):
                yield f"{place}.models[{number}]: found {model!r}; must be timm/<name> or torchvision/<name>"
    elif isinstance(family, schema.Downloaded):
        yield from _checkpoint(place, family)
    elif mistake := _not_an_architecture(family.arch):
        yield f"{place}.arch: {mistake}"
    if isinstance(family, schema.User | schema.Library):
        yield from transform_mistakes(f"{place}.transform", **vars(family.transform))
    if isinstance(family, schema.Pretrained | schema.Distilled | schema.Random):
        yield from unknown(f"{place}.target", family.target, config.targets)
        yield from _without_transform(f"{place}.target", family.target, config)
    if isinstance(family, schema.Pretrained | schema.Distilled):
        yield from unknown(f"{place}.recipe", family.recipe, config.recipes)
    if isinstance(family, schema.Distilled):
        yield from _teachers(f"{place}.teachers", family, config)


def _without_transform(place: str, target: str, config: Config) -> Iterator[str]:
    if target in config.targets and config.targets[target].transform == "network":
        yield f"{place}: found {target}, whose transform is `network`; must be a target with a transform of its own"


def _checkpoint(place: str, family: schema.Downloaded) -> Iterator[str]:
    name = family.checkpoint
    yield from unknown(f"{place}.checkpoint", name, checkpoints())
    if name in checkpoints():
        count = len(checkpoints()[name].files)
        for seed in family.seeds:
            if seed >= count:
                yield f"{place}.seeds: found {seed}; {name} has {count} networks, seeds must be 0 to {count - 1}"


def _teachers(place: str, family: schema.Distilled, config: Config) -> Iterator[str]:
    """Teachers are not students themselves, so that no network is its own teacher by way of others."""
    valid = {name: other for name, other in config.networks.items() if not isinstance(other, schema.Distilled)}
    teachers = family.teachers
    if not isinstance(teachers, schema.TeacherBlocks):
        networks = [f"{name}-s{seed}" for name, other in valid.items() for seed in other.seeds]
        for number, teacher in enumerate(teachers):
            yield from unknown(f"{place}[{number}]", teacher, networks)
        return
    yield from unknown(f"{place}.of", teachers.of, valid)
    if teachers.of in valid:
        available, students = len(valid[teachers.of].seeds), len(family.seeds)
        if teachers.size * students > available:
            wanted = f"found {teachers.size} teachers for each of {students} students"
            yield f"{place}.size: {wanted}; {teachers.of} must have {teachers.size * students} seeds, has {available}"


def _representations(config: Config) -> Iterator[str]:
    names = Names(config)
    taken = {*config.networks, *names.networks}  # names of groups and of representations
    for name, entry in config.representations.items():
        place = f"representations.{name}"
        if isinstance(entry, schema.Columns):
            yield from unknown(place, name, config.networks)
            if name in config.networks:
                yield from _columns(place, entry, config.networks[name])
        elif isinstance(entry, schema.Concatenation):
            yield from _concatenation(name, entry, names, taken)
        else:
            key = "members" if isinstance(entry, schema.Members) else "best_subset_of"
            for number, member in enumerate(getattr(entry, key)):
                yield from unknown(f"{place}.{key}[{number}]", member, names.networks)
            if name in taken:
                yield f"{place}: found name {name!r}, which is taken; take another name"
            taken.add(name)


def _columns(place: str, entry: schema.Columns, family: Family) -> Iterator[str]:
    depth = _depth(family)
    for number, (start, stop) in enumerate(entry.columns):
        if not start < stop or (depth is not None and stop > depth):
            bound = "" if depth is None else f" <= {depth}, the number of features"
            yield f"{place}.columns[{number}]: found {[start, stop]}; must be 0 <= start < stop{bound}"


def _depth(family: Family) -> int | None:
    """The number of features of a family's networks; None if it is not known before they are loaded."""
    if isinstance(family, schema.Library):
        return None
    if isinstance(family, schema.Downloaded):
        arch = checkpoints()[family.checkpoint].arch if family.checkpoint in checkpoints() else ""
    else:
        arch = family.arch
    return None if _not_an_architecture(arch) else parse_architecture(arch).feature_dim


def _concatenation(name: str, entry: schema.Concatenation, names: Names, taken: set[str]) -> Iterator[str]:
    """Adds the names that the entry makes to those that are `taken`."""
    place = f"representations.{name}"
    yield from unknown(f"{place}.of", entry.of, names.config.networks)
    if entry.of not in names.config.networks:
        return
    seeds = len(names.config.networks[entry.of].seeds)
    for size in entry.sizes:
        if size > seeds:
            yield f"{place}.sizes: found {size}; must be at most {seeds}, the number of seeds of {entry.of}"
        made = {f"{name}{size}", *names.windows(name, size)}
        if again := sorted(taken & made):
            yield f"{place}.sizes: found {size}, which makes {', '.join(again)}, which is taken; take another name"
        taken |= made


def _finetunings(config: Config) -> Iterator[str]:
    first: dict[str, str] = {}  # target -> the entry that names it first
    for name, entry in config.finetunings.items():
        place = f"finetunings.{name}"
        for target, shots in entry.targets.items():
            yield from unknown(f"{place}.targets", target, config.targets)
            if isinstance(entry, schema.Finetuning):
                yield from _without_transform(f"{place}.targets", target, config)
            if target in first:
                yield f"{place}.targets: found {target}, which finetunings.{first[target]} has too; must be in one"
            first.setdefault(target, name)
            yield from _shots(f"{place}.targets.{target}", shots, config.targets.get(target))
        if isinstance(entry, schema.PublishedFinetuning):
            yield from _published(f"{place}.networks", entry, config)
        else:
            yield from _finetuning(place, entry, config)


def _finetuning(place: str, entry: schema.Finetuning, config: Config) -> Iterator[str]:
    for number, family in enumerate(entry.networks):
        yield from unknown(f"{place}.networks[{number}]", family, config.networks)
    by_grid = [key for key in ("learning_rates", "epochs") if not isinstance(getattr(entry, key), list)]
    if config.grid == "own" and by_grid:
        for key in by_grid:
            yield f"grid: found own; must be recommended or published, as {place}.{key} has values for these"
        return
    valid = grid_settings(entry, config.grid)
    for number, setting in enumerate(entry.two_stage.settings):
        yield from unknown(f"{place}.two_stage.settings[{number}]", setting, valid)


def _published(place: str, entry: schema.PublishedFinetuning, config: Config) -> Iterator[str]:
    """Each network needs one that was fine-tuned: the network of the same seed."""
    families = config.networks
    for family, finetuned in entry.networks.items():
        yield from unknown(place, family, families)
        yield from unknown(f"{place}.{family}", finetuned, families)
        if not {family, finetuned} <= families.keys():
            continue
        if missing := set(families[family].seeds) - set(families[finetuned].seeds):
            seeds = ", ".join(map(str, sorted(missing)))
            yield f"{place}.{family}: found {finetuned}, without seeds {seeds}; must have all seeds of {family}"


def _not_an_architecture(name: str) -> str:
    """What is wrong with the name of an architecture; nothing if it is one."""
    try:
        parse_architecture(name)
    except UserError as error:
        return str(error)
    return ""
