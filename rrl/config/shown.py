"""What tables, figures and claims show of a config's names."""

import itertools
from collections.abc import Iterable

from rrl.config import schema
from rrl.config.names import Names, several, whole
from rrl.config.runs import Run
from rrl.config.schema import Column, NetworkGroup, Row, Series, Table
from rrl.config.transfers import OF_NETWORKS, TRANSFERS, transfer_name
from rrl.networks.checkpoints import checkpoints


class Shown(Names):
    def shown(self, table: Table, group: str) -> list[str]:
        """The representations of a group that a table shows."""
        windows = group not in self.config.networks
        return self.groups[group][:1] if windows and table.windows == "first" else self.groups[group]

    def cell(self, row: Row, column: Column) -> str | None:
        """The transfer that a cell shows; None where there is none: networks that are not fine-tuned on the target,
        two-stage fine-tuning of one network (one that others fine-tuned has an averaged head), and members trained
        separately by a transfer that has no such form.
        """
        entry = TRANSFERS[column.transfer]
        if row.ensemble and not entry.separate:
            return None
        name = transfer_name(column.transfer, row.ensemble)
        representation = self.groups[row.group][0]
        if entry.cached:
            return name
        if not self.finetuned_on(column.target, representation):
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
        entry = self.finetunings.get(target)
        if entry is None or group.family not in entry.networks:
            return []
        return [Run(network, target, entry.selections[0], entry.two_stage.settings[0]).name for network in networks]

    def architecture(self, representation: str) -> str:
        """The architectures of the networks in a representation: `resnet8`, `4 x resnet8`."""
        networks = dict.fromkeys(member.network for member in self.representations[representation])
        names = [self._arch(network) for network in networks]
        counts = {name: names.count(name) for name in names}
        text = " + ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())
        return f"of {text}" if representation in self.searched else text

    def _arch(self, network: str) -> str:
        name, seed = self.networks[network]
        family = self.config.networks[name]
        if isinstance(family, schema.Library):
            return family.models[seed]
        return checkpoints()[family.checkpoint].arch if isinstance(family, schema.Downloaded) else family.arch

    def spread(self, group: str) -> str:
        """What the representations of a group differ in."""
        if group in self.config.networks:
            return "seeds"
        if group in self.config.representations:
            return "sets"
        return "independent windows" if self.disjoint(group) else "windows"

    def disjoint(self, group: str) -> bool:
        """Whether no two windows of a group share a network."""
        return any(
            entry.windows == "disjoint" and group in {f"{name}{size}" for size in entry.sizes}
            for name, entry in self.config.representations.items()
            if isinstance(entry, schema.Concatenation)
        )

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
