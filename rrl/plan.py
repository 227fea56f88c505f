"""From a config to jobs: what each artifact is made by, from what, with which settings and key.

Nothing here reads a result; the workflow's rules and the keys that stages check come from this alone.
"""

import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rrl.code_version import code_version
from rrl.command import flags
from rrl.members import Member
from rrl.provenance import plan_key
from rrl.schema import Columns, Config, Pretrained, Table


@dataclass(frozen=True)
class Planned:
    """One job: its stage, the artifact it makes, its settings (in the order of the stage's flags), its inputs."""

    stage: str
    artifact: str
    settings: dict[str, Any]
    inputs: tuple["Planned", ...] = ()

    @cached_property
    def key(self) -> str:
        return plan_key(self.stage, self.settings, code_version(self.stage), [job.key for job in self.inputs])

    @property
    def flags(self) -> str:
        return shlex.join(flags(self.settings))

    @property
    def input_keys(self) -> str:
        return " ".join(job.key for job in self.inputs)


class Plan:
    def __init__(self, config: Config, pins: dict[str, Any]):
        self.config = config
        self.pins = pins
        self._jobs: dict[str, Planned] = {}

    def _job(self, stage: str, artifact: str, settings: dict[str, Any], *inputs: Planned) -> Planned:
        return self._jobs.setdefault(artifact, Planned(stage, artifact, settings, inputs))

    @cached_property
    def networks(self) -> dict[str, tuple[str, int]]:
        """Name of each network -> its family and seed."""
        return {f"{family}-s{seed}": (family, seed) for family, of in self.config.networks.items() for seed in of.seeds}

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Name of each group -> its representations."""
        groups = {name: [f"{name}-s{seed}" for seed in family.seeds] for name, family in self.config.networks.items()}
        for name, entry in self.config.representations.items():
            if not isinstance(entry, Columns):
                for size in entry.sizes:
                    count = len(self._windows(entry.of, size, entry.windows))
                    groups[f"{name}{size}"] = [f"{name}{size}" + (f"-k{k}" if k else "") for k in range(count)]
        return groups

    @cached_property
    def representations(self) -> dict[str, list[Member]]:
        """Name of each representation -> its members; also each single member that an ensemble needs."""
        members = {network: [Member(network, None)] for network in self.networks}
        for name, entry in self.config.representations.items():
            if isinstance(entry, Columns):
                for seed in self.config.networks[name].seeds:
                    network = f"{name}-s{seed}"
                    members[network] = [Member(network, (start, stop)) for start, stop in entry.columns]
                    members |= {single_name(member): [member] for member in members[network]}
            else:
                for size in entry.sizes:
                    windows = self._windows(entry.of, size, entry.windows)
                    members |= zip(self.groups[f"{name}{size}"], windows, strict=True)
        return members

    def _windows(self, family: str, size: int, windows: str) -> list[list[Member]]:
        """Seeds k, ..., k + size - 1 of the list; never wrapping, so a new seed changes no old window."""
        names = [Member(f"{family}-s{seed}", None) for seed in self.config.networks[family].seeds]
        count = 1 if windows == "first" else len(names) - size + 1
        return [names[k : k + size] for k in range(count)]

    def target(self, target: str) -> Planned:
        of = self.config.targets[target]
        pins = self.pins["data"].get(of.dataset, {})
        settings = of.model_dump(exclude={"shots", "transform", "probe"})
        settings["pins"] = [f"{file}={sha256}" for file, sha256 in sorted(pins.items())]
        return self._job("target", f"targets/{target}", settings)

    def network(self, network: str) -> Planned:
        family, seed = self.networks[network]
        of = self.config.networks[family]
        transform = self.config.targets[of.target].transform.model_dump()
        settings: dict[str, Any] = {"arch": of.arch, "seed": seed}
        if isinstance(of, Pretrained):
            settings |= self.config.recipes[of.recipe].model_dump() | transform
            return self._job("pretrain", f"networks/{network}", settings, self.target(of.target))
        settings |= {"batch_size": of.batch_size, "mean": transform["mean"], "std": transform["std"]}
        return self._job("random_network", f"networks/{network}", settings, self.target(of.target))

    def features(self, target: str, network: str) -> Planned:
        settings = self.config.targets[target].transform.model_dump() | self.config.features.model_dump()
        return self._job(
            "extract", f"features/{target}/{network}", settings, self.target(target), self.network(network)
        )

    def representation(self, target: str, representation: str) -> Planned:
        members = self.representations[representation]
        features = [self.features(target, member.network) for member in members]
        settings = {"members": [str(member) for member in members]}
        return self._job("represent", f"representations/{target}/{representation}", settings, *features)

    def record(self, target: str, representation: str, transfer: str) -> Planned:
        artifact = f"records/{target}/{representation}/{transfer}"
        whole = self.representation(target, representation)
        if transfer == "ensemble":
            alone = [self.record(target, name, "linear_probe") for name in self.members_alone(representation)]
            return self._job("ensemble", artifact, {}, whole, *alone)
        of = self.config.targets[target]
        settings = {"shots": of.shots} | self.config.probes[of.probe].model_dump()
        return self._job("probe", artifact, settings, whole)

    def members_alone(self, representation: str) -> list[str]:
        """The one-member representation of each member."""
        return [single_name(member) for member in self.representations[representation]]

    def table(self, table: str) -> Planned:
        of = self.config.tables[table]
        rows = [
            {
                "method": row.method,
                "transfer": row.transfer,
                "representations": self.groups[row.group],
                "architecture": self.architecture(self.groups[row.group][0]),
                "spread": self.spread(row.group),
            }
            for row in of.rows
        ]
        layout = {
            "caption": of.caption,
            "selections": of.selections,
            "columns": [column.model_dump() for column in of.columns],
            "rows": rows,
        }
        return self._job("table", table, {"layout": layout}, *self.cells(of))

    def cells(self, table: Table) -> list[Planned]:
        """The record of every cell, in the order of the table."""
        targets = dict.fromkeys(column.target for column in table.columns)
        return [
            self.record(target, name, row.transfer)
            for row in table.rows
            for name in self.groups[row.group]
            for target in targets
        ]

    def collection(self) -> Planned:
        """All records that some table shows."""
        tables = self.config.tables.values()
        records = {job.artifact: job for table in tables for job in self.cells(table)}
        methods = {name: row.method for table in tables for row in table.rows for name in self.groups[row.group]}
        return self._job("collect", "records", {"methods": methods}, *records.values())

    def architecture(self, representation: str) -> str:
        """Of the trunks behind a representation: `resnet8`, `4 x resnet8`."""
        networks = dict.fromkeys(member.network for member in self.representations[representation])
        names = [self.config.networks[self.networks[network][0]].arch for network in networks]
        counts = {name: names.count(name) for name in names}
        return " + ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())

    def spread(self, group: str) -> str:
        """What the representations of a group differ in."""
        return "seeds" if group in self.config.networks else "windows"


def single_name(member: Member) -> str:
    """`erm-s0`; `wide2-s0.0-32` for columns 0 to 31."""
    return member.network if member.columns is None else f"{member.network}.{member.columns[0]}-{member.columns[1]}"
