"""What the names of a config stand for: its networks, representations and runs of fine-tuning."""

import itertools
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from rrl.config import schema
from rrl.config.once import once
from rrl.config.runs import Run, setting_name
from rrl.config.schema import Config, Finetuning, PublishedFinetuning
from rrl.config.settings import LbfgsProbe
from rrl.store.members import Member

OTHERS = "others"  # key of a target's probes by family: all families that are not named


class Names:
    """Needs a config whose references are right: see rrl.config.references."""

    def __init__(self, config: Config):
        self.config = config
        self.answers: dict[Any, Any] = {}

    @cached_property
    def networks(self) -> dict[str, tuple[str, int]]:
        """Name of each network -> its family and seed."""
        families = self.config.networks.items()
        return {f"{name}-s{seed}": (name, seed) for name, family in families for seed in family.seeds}

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Name of each group -> its representations."""
        groups = {name: [f"{name}-s{seed}" for seed in family.seeds] for name, family in self.config.networks.items()}
        for name, entry in self.config.representations.items():
            if isinstance(entry, schema.Members | schema.BestSubset):
                groups[name] = [name]
            elif isinstance(entry, schema.Concatenation):
                groups |= {f"{name}{size}": list(self.windows(name, size)) for size in entry.sizes}
        return groups

    @cached_property
    def representations(self) -> dict[str, list[Member]]:
        """Name of each representation -> its members; also each single member that an ensemble needs."""
        members = {network: [Member(network, None)] for network in self.networks}
        for name, entry in self.config.representations.items():
            if isinstance(entry, schema.Columns):
                for seed in self.config.networks[name].seeds:
                    network = f"{name}-s{seed}"
                    members[network] = [Member(network, (start, stop)) for start, stop in entry.columns]
                    members |= {member.alone: [member] for member in members[network]}
            elif isinstance(entry, schema.Concatenation):
                for size in entry.sizes:
                    members |= self.windows(name, size)
            else:
                networks = entry.members if isinstance(entry, schema.Members) else entry.best_subset_of
                members[name] = [Member(network, None) for network in networks]
        return members

    def windows(self, concatenation: str, size: int) -> dict[str, list[Member]]:
        """The representations of one size of a concatenation -> their members.

        Windows never wrap, so a new seed changes no old one. Disjoint ones start where blocks of the largest size do.
        """
        entry = self.config.representations[concatenation]
        assert isinstance(entry, schema.Concatenation)
        seeds, largest = self.config.networks[entry.of].seeds, max(entry.sizes)
        starts = {
            "first": range(1),
            "all": range(len(seeds) - size + 1),
            "disjoint": range(0, len(seeds) - largest + 1, largest),
        }[entry.windows]
        networks = [Member(f"{entry.of}-s{seed}", None) for seed in seeds]
        names = [f"{concatenation}{size}" + (f"-k{number}" if number else "") for number in range(len(starts))]
        return {name: networks[start : start + size] for name, start in zip(names, starts, strict=True)}

    @cached_property
    def finetunings(self) -> dict[str, Finetuning]:
        """Target -> how networks are fine-tuned on it here."""
        entries = [entry for entry in self.config.finetunings.values() if isinstance(entry, Finetuning)]
        return {target: entry for entry in entries for target in entry.targets}

    @cached_property
    def published(self) -> dict[str, PublishedFinetuning]:
        """Target -> the networks that others fine-tuned on it."""
        entries = [entry for entry in self.config.finetunings.values() if isinstance(entry, PublishedFinetuning)]
        return {target: entry for entry in entries for target in entry.targets}

    @once
    def settings(self, target: str) -> dict[str, tuple[float, float, int]]:
        """Name of each fine-tuning setting -> learning rate, weight decay, epochs."""
        return grid_settings(self.finetunings[target], self.config.grid)

    def families(self, representation: str) -> list[str]:
        """The families of the networks in a representation, in its order."""
        return list(dict.fromkeys(self.networks[member.network][0] for member in self.representations[representation]))

    def finetuned_on(self, target: str, representation: str) -> bool:
        """Whether the networks of a representation are among those that are fine-tuned on a target."""
        finetuning = self.finetunings.get(target) or self.published[target]
        return set(self.families(representation)) <= set(finetuning.networks)

    @cached_property
    def kept(self) -> dict[str, Run]:
        """Name of each run whose weights are kept -> the run: networks that two-stage fine-tuning starts from."""
        networks = dict.fromkeys(
            member.network for members in self.representations.values() if several(members) for member in members
        )
        return self._runs(networks, self._two_stage_settings)

    @cached_property
    def runs(self) -> dict[str, Run]:
        """Name of each run of fine-tuning that can be asked for -> the run."""
        return self._runs(self.representations, {target: self.settings(target) for target in self.finetunings})

    @cached_property
    def _two_stage_settings(self) -> dict[str, list[str]]:
        return {target: entry.two_stage.settings for target, entry in self.finetunings.items()}

    def _runs(self, representations: Iterable[str], settings: Mapping[str, Iterable[str]]) -> dict[str, Run]:
        """settings : target -> names of settings."""
        names = list(representations)
        runs = [
            Run(representation, target, selection, setting)
            for target, entry in self.finetunings.items()
            for representation in names
            if self.finetuned_on(target, representation)
            for selection in entry.selections
            for setting in settings[target]
        ]
        return {run.name: run for run in runs}

    @cached_property
    def stage_one(self) -> dict[str, tuple[str, str, str]]:
        """Representations of networks fine-tuned here: name -> representation before, selection, setting."""
        concatenations = [name for name, members in self.representations.items() if several(members)]
        runs = self._runs(concatenations, self._two_stage_settings).values()
        return {
            f"{run.representation}.{run.selection}-{run.setting}": (run.representation, run.selection, run.setting)
            for run in runs
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

    @once
    def members(self, target: str, representation: str) -> list[Member]:
        """The members of a representation, which may be one of fine-tuned networks."""
        if (before := self.stage_one_published.get(representation)) is not None:
            finetuned = self.published[target].networks
            networks = [self.networks[member.network] for member in self.representations[before]]
            return [Member(f"{finetuned[family]}-s{seed}", None) for family, seed in networks]
        if representation not in self.stage_one:
            return self.representations[representation]
        before, selection, setting = self.stage_one[representation]
        runs = [Run(member.network, target, selection, setting) for member in self.representations[before]]
        return [Member(run.name, None) for run in runs]

    @cached_property
    def searched(self) -> list[str]:
        """The representations whose linear probe is a search for the best subset."""
        return [name for name, entry in self.config.representations.items() if isinstance(entry, schema.BestSubset)]

    def probes(self, target: str) -> list[str]:
        """The entries of `probes` that a target names: one, or those by family."""
        probe = self.config.targets[target].probe
        return [probe] if isinstance(probe, str) else list(dict.fromkeys(probe.values()))

    def probe_by_family(self, target: str, representation: str) -> dict[str, str]:
        """Each family of a representation -> the entry of `probes` for heads on it. Equal ones, where it is probed."""
        probe = self.config.targets[target].probe
        families = self.families(representation)
        return {name: probe if isinstance(probe, str) else probe.get(name, probe[OTHERS]) for name in families}

    def probe(self, target: str, representation: str) -> str:
        """The entry of `probes` for heads on a representation."""
        (name,) = set(self.probe_by_family(target, representation).values())
        return name

    @cached_property
    def by_lbfgs(self) -> list[str]:
        """The targets whose linear probes are trained by L-BFGS."""
        lbfgs = {name for name, probe in self.config.probes.items() if isinstance(probe, LbfgsProbe)}
        return [target for target in self.config.targets if self.probes(target)[0] in lbfgs]

    def teachers(self, network: str) -> list[str]:
        """The networks that a network was distilled from; none for other origins."""
        name, seed = self.networks[network]
        family = self.config.networks[name]
        if not isinstance(family, schema.Distilled):
            return []
        teachers = family.teachers
        if isinstance(teachers, list):
            return teachers
        first = teachers.size * family.seeds.index(seed)
        seeds = self.config.networks[teachers.of].seeds[first : first + teachers.size]
        return [f"{teachers.of}-s{teacher}" for teacher in seeds]

    def transform(self, target: str, network: str) -> Any:
        """How images of a target become inputs of a network."""
        transform = self.config.targets[target].transform
        if not isinstance(transform, str):
            return transform
        family = self.config.networks[self.networks[network][0]]
        assert isinstance(family, schema.User | schema.Library)
        return family.transform

    def gpus(self, network: str) -> int:
        """The most GPUs that a network is trained on."""
        family = self.config.networks[self.networks[network][0]]
        if isinstance(family, schema.Pretrained | schema.Distilled):
            return self.config.recipes[family.recipe].gpus
        return 1

    def gpus_of_run(self, run: str) -> int:
        return self.finetunings[self.runs[run].target].gpus


def grid_settings(finetuning: Finetuning, grid: str) -> dict[str, tuple[float, float, int]]:
    """Name of each setting of a grid -> learning rate, weight decay, epochs."""
    rates, epochs = (
        values if isinstance(values, list) else getattr(values, grid)
        for values in (finetuning.learning_rates, finetuning.epochs)
    )
    numbers = itertools.product(rates, finetuning.weight_decays, epochs)
    return {setting_name(*setting): setting for setting in numbers}


def whole(members: list[Member]) -> bool:
    """Whether a representation is of whole networks."""
    return all(member.columns is None for member in members)


def several(members: list[Member]) -> bool:
    """Whether a representation is of two or more whole networks."""
    return len(members) > 1 and whole(members)
