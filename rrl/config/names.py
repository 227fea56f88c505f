"""What the names of a config stand for: its networks, representations, runs of fine-tuning, and cells of tables."""

import itertools
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from rrl.config.once import once
from rrl.config.references import OTHERS, probes_of, window_starts
from rrl.config.runs import Run, setting_name
from rrl.config.schema import (
    BestSubset,
    Column,
    Columns,
    Concatenation,
    Config,
    Distilled,
    Downloaded,
    Finetuning,
    Library,
    Members,
    NetworkGroup,
    Pretrained,
    PublishedFinetuning,
    Row,
    Series,
    Table,
    User,
)
from rrl.config.settings import LbfgsProbe
from rrl.config.transfers import OF_NETWORKS, transfer_name
from rrl.networks.checkpoints import checkpoints
from rrl.store.members import Member


class Names:
    def __init__(self, config: Config):
        self.config = config
        self.answers: dict[Any, Any] = {}

    @cached_property
    def networks(self) -> dict[str, tuple[str, int]]:
        """Name of each network -> its family and seed."""
        return {f"{family}-s{seed}": (family, seed) for family, of in self.config.networks.items() for seed in of.seeds}

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Name of each group -> its representations."""
        groups = {name: [f"{name}-s{seed}" for seed in family.seeds] for name, family in self.config.networks.items()}
        for name, entry in self.config.representations.items():
            if isinstance(entry, Members | BestSubset):
                groups[name] = [name]
            elif isinstance(entry, Concatenation):
                for size in entry.sizes:
                    count = len(self._windows(entry, size))
                    groups[f"{name}{size}"] = [f"{name}{size}" + (f"-k{k}" if k else "") for k in range(count)]
        return groups

    @cached_property
    def finetunings(self) -> dict[str, Finetuning]:
        """Target -> how networks are fine-tuned on it here."""
        every = self.config.finetunings.values()
        return {target: of for of in every if isinstance(of, Finetuning) for target in of.targets}

    @cached_property
    def published(self) -> dict[str, PublishedFinetuning]:
        """Target -> the networks that others fine-tuned on it."""
        every = self.config.finetunings.values()
        return {target: of for of in every if isinstance(of, PublishedFinetuning) for target in of.targets}

    @once
    def settings(self, target: str) -> dict[str, tuple[float, float, int]]:
        """Name of each fine-tuning setting -> learning rate, weight decay, epochs."""
        of = self.finetunings[target]
        rates = (
            of.learning_rates if isinstance(of.learning_rates, list) else getattr(of.learning_rates, self.config.grid)
        )
        epochs = of.epochs if isinstance(of.epochs, list) else getattr(of.epochs, self.config.grid)
        return {setting_name(*numbers): numbers for numbers in itertools.product(rates, of.weight_decays, epochs)}

    def families(self, representation: str) -> set[str]:
        """Of the networks behind a representation."""
        return {self.networks[member.network][0] for member in self.representations[representation]}

    def finetuned_on(self, target: str, representation: str) -> bool:
        """Whether the networks behind a representation are among those that are fine-tuned on a target."""
        of = self.finetunings.get(target) or self.published[target]
        return self.families(representation) <= set(of.networks)

    @cached_property
    def kept(self) -> dict[str, Run]:
        """Name of each run whose weights are kept -> the run: networks that two-stage fine-tuning starts from."""
        networks = dict.fromkeys(
            member.network for members in self.representations.values() if several(members) for member in members
        )
        runs = [
            Run(network, target, selection, setting)
            for target, of in self.finetunings.items()
            for network in networks
            if self.finetuned_on(target, network)
            for selection in of.selections
            for setting in of.two_stage.settings
        ]
        return {run.name: run for run in runs}

    @cached_property
    def stage_one(self) -> dict[str, tuple[str, str, str]]:
        """Representations of networks fine-tuned here: name -> representation before, selection, setting."""
        return {
            f"{name}.{selection}-{setting}": (name, selection, setting)
            for target, of in self.finetunings.items()
            for selection in of.selections
            for setting in of.two_stage.settings
            for name, members in self.representations.items()
            if several(members) and self.finetuned_on(target, name)
        }

    @cached_property
    def stage_one_published(self) -> dict[str, str]:
        """Representations of networks that others fine-tuned: name -> representation before."""
        return {
            f"{name}.{target}": name
            for target in self.published
            for name, members in self.representations.items()
            if whole(members) and self.finetuned_on(target, name)
        }

    @cached_property
    def runs(self) -> dict[str, Run]:
        """Name of each run of fine-tuning that can be asked for -> the run."""
        runs = [
            Run(representation, target, selection, setting)
            for target, of in self.finetunings.items()
            for representation in self.representations
            if self.finetuned_on(target, representation)
            for selection in of.selections
            for setting in self.settings(target)
        ]
        return {run.name: run for run in runs}

    @cached_property
    def representations(self) -> dict[str, list[Member]]:
        """Name of each representation -> its members; also each single member that an ensemble needs."""
        members = {network: [Member(network, None)] for network in self.networks}
        for name, entry in self.config.representations.items():
            if isinstance(entry, Columns):
                for seed in self.config.networks[name].seeds:
                    network = f"{name}-s{seed}"
                    members[network] = [Member(network, (start, stop)) for start, stop in entry.columns]
                    members |= {member.alone: [member] for member in members[network]}
            elif isinstance(entry, Members | BestSubset):
                names = entry.members if isinstance(entry, Members) else entry.best_subset_of
                members[name] = [Member(network, None) for network in names]
            else:
                for size in entry.sizes:
                    members |= zip(self.groups[f"{name}{size}"], self._windows(entry, size), strict=True)
        return members

    @cached_property
    def searched(self) -> list[str]:
        """The representations whose linear probe is a search for the best subset."""
        return [name for name, entry in self.config.representations.items() if isinstance(entry, BestSubset)]

    def probe(self, target: str, representation: str) -> str:
        """The entry of `probes` for heads on a representation; `references` has checked that there is one."""
        probe = self.config.targets[target].probe
        if isinstance(probe, str):
            return probe
        (name,) = {probe.get(family, probe[OTHERS]) for family in self.families(representation)}
        return name

    @cached_property
    def by_lbfgs(self) -> list[str]:
        """The targets whose linear probes are trained by L-BFGS."""
        return [
            name
            for name, of in self.config.targets.items()
            if isinstance(self.config.probes[next(iter(probes_of(of.probe)))], LbfgsProbe)
        ]

    def _windows(self, entry: Concatenation, size: int) -> list[list[Member]]:
        """The windows of one size."""
        names = [Member(f"{entry.of}-s{seed}", None) for seed in self.config.networks[entry.of].seeds]
        starts = window_starts(entry.windows, size, max(entry.sizes), len(names))
        return [names[start : start + size] for start in starts]

    def teachers(self, network: str) -> list[str]:
        """The networks that a network was distilled from; none for other origins."""
        family, seed = self.networks[network]
        of = self.config.networks[family]
        if not isinstance(of, Distilled):
            return []
        if isinstance(of.teachers, list):
            return of.teachers
        size, student = of.teachers.size, of.seeds.index(seed)
        seeds = self.config.networks[of.teachers.of].seeds[size * student : size * (student + 1)]
        return [f"{of.teachers.of}-s{teacher}" for teacher in seeds]

    def transform(self, target: str, network: str) -> Any:
        """How images of a target become inputs of a network."""
        transform = self.config.targets[target].transform
        if not isinstance(transform, str):
            return transform
        family = self.config.networks[self.networks[network][0]]
        assert isinstance(family, User | Library)
        return family.transform

    @once
    def members(self, target: str, representation: str) -> list[Member]:
        """Also of a representation of fine-tuned networks."""
        if (before := self.stage_one_published.get(representation)) is not None:
            finetuned = self.published[target].networks
            networks = [self.networks[member.network] for member in self.representations[before]]
            return [Member(f"{finetuned[family]}-s{seed}", None) for family, seed in networks]
        if representation not in self.stage_one:
            return self.representations[representation]
        before, selection, setting = self.stage_one[representation]
        runs = [Run(member.network, target, selection, setting) for member in self.representations[before]]
        return [Member(run.name, None) for run in runs]

    def gpus(self, network: str) -> int:
        """That a network is trained on at most."""
        of = self.config.networks[self.networks[network][0]]
        return self.config.recipes[of.recipe].gpus if isinstance(of, Pretrained | Distilled) else 1

    def gpus_of_run(self, run: str) -> int:
        return self.finetunings[self.runs[run].target].gpus

    def shown(self, table: Table, group: str) -> list[str]:
        """The representations of a group that a table shows."""
        windows = group not in self.config.networks
        return self.groups[group][:1] if windows and table.windows == "first" else self.groups[group]

    def cell(self, row: Row, column: Column) -> str | None:
        """The transfer that a cell shows; None where there is none: networks that are not fine-tuned on the target,
        and two-stage fine-tuning of one network. (Of one network that others fine-tuned there is an averaged head.)
        """
        name = transfer_name(column.transfer, row.ensemble)
        representation = self.groups[row.group][0]
        if column.transfer == "linear_probe":
            return name
        if not self.finetuned_on(column.target, representation) or (
            column.transfer == "averaged_head" and row.ensemble
        ):
            return None
        members = self.representations[representation]
        alone = name == "averaged_head" and column.target in self.published and whole(members)
        return name if name not in OF_NETWORKS or several(members) or alone else None

    def separate(self, series: Series, group: str) -> bool:
        """Whether a figure shows a group as members trained separately. One network is its own ensemble, as it is."""
        alone = len(self.representations[self.groups[group][0]]) == 1 and series.transfer != "two_stage"
        return series.ensemble and not alone

    def networks_in(self, representation: str) -> int:
        return len({member.network for member in self.representations[representation]})

    def gains(self, groups: list[list[str]]) -> list[list[tuple[str, str]]]:
        """From each group of representations to the next: pairs of one, and one of the same networks and more."""

        def more(before: str, after: str) -> bool:
            few, many = self.representations[before], self.representations[after]
            return len(many) > len(few) and many[: len(few)] == few

        return [
            [(before, after) for after in many for before in few if more(before, after)]
            for few, many in itertools.pairwise(groups)
        ]

    def compared(self, target: str, group: NetworkGroup) -> list[str]:
        """The networks of a group of a figure of similarities; none where they are not fine-tuned on the target."""
        networks = [f"{group.family}-s{seed}" for seed in group.seeds]
        if not group.finetuned:
            return networks
        of = self.finetunings.get(target)
        if of is None or group.family not in of.networks:
            return []
        return [Run(network, target, of.selections[0], of.two_stage.settings[0]).name for network in networks]

    def architecture(self, representation: str) -> str:
        """Of the trunks behind a representation: `resnet8`, `4 x resnet8`."""
        networks = dict.fromkeys(member.network for member in self.representations[representation])
        names = [self._arch(network) for network in networks]
        counts = {name: names.count(name) for name in names}
        text = " + ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())
        return f"of {text}" if representation in self.searched else text

    def _arch(self, network: str) -> str:
        family, seed = self.networks[network]
        of = self.config.networks[family]
        if isinstance(of, Library):
            return of.models[seed]
        return checkpoints()[of.checkpoint].arch if isinstance(of, Downloaded) else of.arch

    def spread(self, group: str) -> str:
        """What the representations of a group differ in."""
        if group in self.config.networks:
            return "seeds"
        if group in self.config.representations:
            return "sets"
        return "independent windows" if self.disjoint(group) else "windows"

    def origins(self, representation: str) -> set[str]:
        """The networks in a representation, and those that they were distilled from."""
        networks = {member.network for member in self.representations[representation]}
        return networks.union(*map(self.teachers, networks))

    def shared(self, representations: Iterable[str]) -> tuple[str, str] | None:
        """The first two of some representations that are not independent: they have a network in common."""
        first: dict[str, str] = {}
        for name in representations:
            for network in self.origins(name):
                if network in first:
                    return first[network], name
            first |= dict.fromkeys(self.origins(name), name)
        return None

    def disjoint(self, group: str) -> bool:
        """Whether no two windows of a group share a network."""
        return group in {
            f"{name}{size}"
            for name, entry in self.config.representations.items()
            if isinstance(entry, Concatenation) and entry.windows == "disjoint"
            for size in entry.sizes
        }


def whole(members: list[Member]) -> bool:
    """Whether a representation is of whole networks."""
    return all(member.columns is None for member in members)


def several(members: list[Member]) -> bool:
    """Whether a representation is of two or more whole networks."""
    return len(members) > 1 and whole(members)
