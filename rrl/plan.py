"""From a config to jobs: what each artifact is made by, from what, with which settings and key.

Nothing here reads a result; the workflow's rules and the keys that stages check come from this alone.
"""

import itertools
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Concatenate, ParamSpec, TypeVar

from rrl.arithmetic import STAGES
from rrl.caveats import known_val, of_val
from rrl.code_version import code_version
from rrl.command import flags
from rrl.config.paper import paper_value
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
    ImageTarget,
    LbfgsProbe,
    Library,
    Members,
    NetworkGroup,
    Panel,
    PaperTarget,
    Pretrained,
    PublishedFinetuning,
    Row,
    Series,
    SimilarityFigure,
    Table,
    User,
)
from rrl.config.transfers import MEMBERS_TRANSFER, OF_NETWORKS, transfer_name
from rrl.networks.checkpoints import checkpoints, planned_sha256
from rrl.store.cards import plan_key
from rrl.store.members import Member


@dataclass(frozen=True)
class Planned:
    """One job: its stage, the artifact it makes, its settings (in the order of the stage's flags), its inputs."""

    stage: str
    artifact: str
    settings: dict[str, Any]
    inputs: tuple["Planned", ...] = ()

    @property
    def code_version(self) -> str:
        return code_version(self.stage)

    @cached_property
    def key(self) -> str:
        return plan_key(self.stage, self.settings, self.code_version, [job.key for job in self.inputs])

    @property
    def flags(self) -> str:
        return shlex.join(flags(self.settings))

    @property
    def input_keys(self) -> str:
        return " ".join(job.key for job in self.inputs)


def behind(jobs: Iterable[Planned]) -> list[Planned]:
    """All jobs that some jobs need, each behind its inputs, and these themselves."""
    found: dict[str, Planned] = {}

    def add(job: Planned) -> None:
        if job.artifact not in found:
            for source in job.inputs:
                add(source)
            found[job.artifact] = job

    for job in jobs:
        add(job)
    return list(found.values())


Question = ParamSpec("Question")
Answer = TypeVar("Answer")


def _once(method: Callable[Concatenate["Plan", Question], Answer]) -> Callable[Concatenate["Plan", Question], Answer]:
    """The answer is remembered: a network is behind hundreds of records, and every job of a cluster reads the plan."""

    def asked(plan: "Plan", /, *of: Question.args, **named: Question.kwargs) -> Answer:
        question = (method.__name__, *of, *named.items())
        if question not in plan.answers:
            plan.answers[question] = method(plan, *of, **named)
        answer: Answer = plan.answers[question]
        return answer

    return asked


class Plan:
    def __init__(self, config: Config, pins: dict[str, Any]):
        self.config = config
        self.pins = pins
        self.answers: dict[Any, Any] = {}
        self._jobs: dict[str, Planned] = {}

    @cached_property
    def jobs(self) -> list[Planned]:
        """All jobs of the experiment, each behind its inputs."""
        tables = [self.table(table) for table in self.config.tables]
        figures = [self.figure(figure) for figure in self.config.figures]
        return behind([*tables, *figures, self.collection()])

    def _job(self, stage: str, artifact: str, settings: dict[str, Any], *inputs: Planned) -> Planned:
        if stage in STAGES:
            settings = settings | {"arithmetic": self.config.arithmetic}
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

    @_once
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
                    members |= {single_name(member): [member] for member in members[network]}
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

    @_once
    def target(self, target: str) -> Planned:
        of = self.config.targets[target]
        if isinstance(of, ImageTarget):
            kept = of.model_dump(exclude={"dataset", "shots", "transform", "probe"})
            return self._job("image_target", f"targets/{target}", kept)
        if isinstance(of, PaperTarget):
            kept = of.model_dump(exclude={"shots", "transform", "probe"})
            return self._job("paper_target", f"targets/{target}", kept)
        pins = self.pins["data"].get(of.dataset, {})
        settings = of.model_dump(exclude={"shots", "transform", "probe"})
        settings["pins"] = [f"{file}={sha256}" for file, sha256 in sorted(pins.items())]
        return self._job("target", f"targets/{target}", settings)

    @_once
    def network(self, network: str) -> Planned:
        if network in self.kept:
            return self._finetune(f"networks/{network}", self.kept[network])
        settings: dict[str, Any]
        family, seed = self.networks[network]
        of = self.config.networks[family]
        if isinstance(of, Downloaded):
            checkpoint = checkpoints()[of.checkpoint]
            file = checkpoint.files[seed]
            settings = {"file": file, "sha256": planned_sha256(file), "format": checkpoint.format}
            return self._job("convert", f"networks/{network}", settings | {"arch": checkpoint.arch, "seed": seed})
        if isinstance(of, User):
            settings = {"sha256": of.files[seed].sha256, "format": of.format, "arch": of.arch, "seed": seed}
            return self._job("user_network", f"networks/{network}", settings)
        if isinstance(of, Library):
            return self._job("library_network", f"networks/{network}", {"arch": of.models[seed], "seed": seed})
        transform = self.transform(of.target, network)
        settings = {"arch": of.arch, "seed": seed}
        if isinstance(of, Distilled):
            settings |= {"temperature": of.temperature}
            settings |= self.config.recipes[of.recipe].model_dump(exclude={"gpus"}) | {"transform": transform}
            taught = [self.features(of.target, teacher) for teacher in self.teachers(network)]
            teachers = [self.network(teacher) for teacher in self.teachers(network)]
            return self._job("distill", f"networks/{network}", settings, self.target(of.target), *taught, *teachers)
        if isinstance(of, Pretrained):
            settings |= self.config.recipes[of.recipe].model_dump(exclude={"gpus"}) | {"transform": transform}
            return self._job("pretrain", f"networks/{network}", settings, self.target(of.target))
        plain = {"pad": 0, "flip": False} if "pad" in transform else {"scale": [1.0, 1.0], "flip": False}
        settings |= {"batch_size": of.batch_size, "transform": transform | plain}
        return self._job("random_network", f"networks/{network}", settings, self.target(of.target))

    def transform(self, target: str, network: str) -> dict[str, Any]:
        """How images of a target become inputs of a network."""
        of = self.config.targets[target].transform
        if isinstance(of, str):
            family = self.config.networks[self.networks[network][0]]
            assert isinstance(family, User | Library)
            of = family.transform
        return of.model_dump()

    @_once
    def features(self, target: str, network: str) -> Planned:
        settings = {"transform": self.transform(target, network)} | self.config.features.model_dump()
        return self._job(
            "extract", f"features/{target}/{network}", settings, self.target(target), self.network(network)
        )

    @_once
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

    @_once
    def representation(self, target: str, representation: str) -> Planned:
        members = self.members(target, representation)
        features = [self.features(target, member.network) for member in members]
        settings = {"members": [str(member) for member in members]}
        return self._job("represent", f"representations/{target}/{representation}", settings, *features)

    def gpus(self, network: str) -> int:
        """That a network is trained on at most."""
        of = self.config.networks[self.networks[network][0]]
        return self.config.recipes[of.recipe].gpus if isinstance(of, Pretrained | Distilled) else 1

    def gpus_of_run(self, run: str) -> int:
        return self.finetunings[self.runs[run].target].gpus

    def finetuned(self, run: str) -> Planned:
        """One setting of fine-tuning, by the name of the run."""
        return self._finetune(f"finetuned/{run}", self.runs[run])

    @_once
    def _finetune(self, artifact: str, run: Run) -> Planned:
        of = self.finetunings[run.target]
        learning_rate, weight_decay, epochs = self.settings(run.target)[run.setting]
        recipe = of.model_dump(
            include={
                "steps_per_epoch",
                "batch_size",
                "momentum",
                "nesterov",
                "decay_norm",
                "precision",
                "schedule",
                "seed",
            }
        )
        settings: dict[str, Any] = {"selection": run.selection, "shots": of.targets[run.target]}
        settings |= {"evaluation_batch_size": self.config.features.batch_size}
        settings |= {"learning_rate": learning_rate, "weight_decay": weight_decay, "epochs": epochs} | recipe
        networks = dict.fromkeys(member.network for member in self.representations[run.representation])
        settings |= {"transform": self.transform(run.target, next(iter(networks)))}
        return self._job("finetune", artifact, settings, self.target(run.target), *map(self.network, networks))

    @_once
    def record(self, target: str, representation: str, transfer: str) -> Planned:
        artifact = f"records/{target}/{representation}/{transfer}"
        if transfer == "linear_probe":
            of = self.config.targets[target]
            probe = self.config.probes[self.probe(target, representation)]
            settings = {"shots": of.shots} | probe.model_dump(exclude={"solver"})
            stage = "lbfgs_probe" if target in self.by_lbfgs else "probe"
            stage = "best_subset" if representation in self.searched else stage
            return self._job(stage, artifact, settings, self.representation(target, representation))
        if transfer in MEMBERS_TRANSFER:
            names = [single_name(member) for member in self.representations[representation]]
            alone = [self.record(target, name, MEMBERS_TRANSFER[transfer]) for name in names]
            return self._job("ensemble", artifact, {}, *alone)
        if transfer == "finetune":
            finetuning = self.finetunings[target]
            grid = itertools.product(finetuning.selections, self.settings(target))
            runs = [Run(representation, target, selection, setting) for selection, setting in grid]
            return self._job("merge", artifact, {}, *(self.finetuned(run.name) for run in runs))
        return self._after_stage_one(artifact, target, representation, transfer)

    @_once
    def _after_stage_one(self, artifact: str, target: str, representation: str, transfer: str) -> Planned:
        """The second stage, or none, on networks that were fine-tuned one by one, here or by others."""
        of = self.finetunings.get(target) or self.published[target]
        about: list[dict[str, Any]] = []
        starts = []
        for selection in of.selections:
            common = {"selection": selection, "shots": of.targets[target]}
            if isinstance(of, PublishedFinetuning):
                starts.append(f"{representation}.{target}")
                about.append({"learning_rate": None, "weight_decay": of.weight_decay, "epochs": None, **common})
                continue
            for setting in of.two_stage.settings:
                starts.append(f"{representation}.{selection}-{setting}")
                numbers = zip(("learning_rate", "weight_decay", "epochs"), self.settings(target)[setting], strict=True)
                about.append({**dict(numbers), **common})
        networks = [self.network(member.network) for start in starts for member in self.members(target, start)]
        settings: dict[str, Any] = {"stage_one": about}
        if transfer == "two_stage":
            settings |= of.two_stage.model_dump(exclude={"settings"})
        cards = [self.representation(target, start) for start in starts]
        return self._job(transfer, artifact, settings, *cards, *networks)

    def table(self, table: str) -> Planned:
        of = self.config.tables[table]
        rows = [
            {
                "method": row.method,
                "ensemble": row.ensemble,
                "representations": self.shown(of, row.group),
                "transfers": [self.cell(row, column) for column in of.columns],
                "paper": [self.paper(of, row, column) for column in of.columns],
                "architecture": self.architecture(self.groups[row.group][0]),
                "spread": self.spread(row.group),
            }
            for row in of.rows
        ]
        layout = {
            "caption": of.caption,
            "selections": of.selections,
            "grid": self.config.grid,
            "views": self.config.features.views,
            "columns": [column.model_dump() for column in of.columns],
            "rows": rows,
        }
        if known := self._known_val(of):
            layout["remarks"] = [of_val(known)]
        return self._job("table", table, {"layout": layout}, *self.cells(of))

    def _known_val(self, table: Table) -> list[str]:
        """The methods of a table whose networks were trained on images that the rule heldout picks on."""
        if "heldout" not in table.selections:
            return []
        return [
            row.method
            for row in table.rows
            for cell in self.cells(table.model_copy(update={"rows": [row]}))
            if known_val(cell.artifact, behind([cell]))
        ]

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

    def paper(self, table: Table, row: Row, column: Column) -> dict[str, float] | None:
        """The paper's value of a cell in percent, and how far off it may be."""
        transfer = self.cell(row, column)
        if table.paper is None or transfer is None:
            return None
        value = paper_value(table.paper, row.method, column.target, transfer)
        return None if value is None or value.excluded else {"top1": value.top1, "error": value.error}

    def cells(self, table: Table) -> list[Planned]:
        """The records of a table, in its order."""
        cells = {
            (column.target, name, transfer): None
            for row in table.rows
            for name in self.shown(table, row.group)
            for column in table.columns
            if (transfer := self.cell(row, column))
        }
        return [self.record(*cell) for cell in cells]

    def figure(self, figure: str) -> Planned:
        of = self.config.figures[figure]
        if isinstance(of, SimilarityFigure):
            return self._similarity_figure(figure, of)
        records: dict[str, Planned] = {}
        rows = []
        for row in of.rows:
            shown = []
            for series in row.series:
                groups = [self.shown(self.config.tables[row.table], group) for group in series.groups]
                transfers = [transfer_name(series.transfer, self.separate(series, group)) for group in series.groups]
                for panel in row.panels:
                    for names, transfer in zip(groups, transfers, strict=True):
                        for name in names:
                            job = self.record(panel.target, name, transfer)
                            records[job.artifact] = job
                about: dict[str, Any] = {"label": series.label, "ensemble": series.ensemble, "transfers": transfers}
                about |= {"groups": groups, "networks": [self.networks_in(names[0]) for names in groups]}
                if of.kind == "gains":
                    about |= {"pairs": [[list(pair) for pair in pairs] for pairs in self.gains(groups)]}
                else:
                    about |= {"paper": [self._paper_points(row.table, panel, series) for panel in row.panels]}
                shown.append(about)
            rows.append({"title": row.title, "panels": [panel.model_dump() for panel in row.panels], "series": shown})
        drawn = [group for row in of.rows for series in row.series for group in series.groups]
        overlap = any(self.spread(group) == "windows" for group in drawn)
        layout = {"kind": of.kind, "caption": of.caption, "selection": of.selection, "overlap": overlap, "rows": rows}
        return self._job("figure", f"figures/{figure}", {"layout": layout}, *records.values())

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

    def _paper_points(self, table: str, panel: Panel, series: Series) -> list[float | None]:
        """The paper's value, in percent, of each group of a series."""
        of = self.config.tables[table]
        column = Column(transfer=series.transfer, target=panel.target, shots=panel.shots)
        rows = {(row.group, row.ensemble): row for row in of.rows}
        values = [self.paper(of, rows[group, self.separate(series, group)], column) for group in series.groups]
        return [None if value is None else value["top1"] for value in values]

    def compared(self, target: str, group: NetworkGroup) -> list[str]:
        """The networks of a group of a figure of similarities; none where they are not fine-tuned on the target."""
        networks = [f"{group.family}-s{seed}" for seed in group.seeds]
        if not group.finetuned:
            return networks
        of = self.finetunings.get(target)
        if of is None or group.family not in of.networks:
            return []
        return [Run(network, target, of.selections[0], of.two_stage.settings[0]).name for network in networks]

    def similarity(self, target: str, figure: str) -> Planned:
        of = self.config.figures[figure]
        assert isinstance(of, SimilarityFigure)
        networks = [network for group in of.groups for network in self.compared(target, group)]
        features = [self.features(target, network) for network in networks]
        return self._job("similarity", f"similarities/{target}/{figure}", {}, *features)

    @cached_property
    def similarities(self) -> list[Planned]:
        """Of all figures."""
        return [job for job in self.jobs if job.stage == "similarity"]

    def _similarity_figure(self, figure: str, of: SimilarityFigure) -> Planned:
        panels = []
        for target in of.targets:
            groups = [group for group in of.groups if self.compared(target, group)]
            panels.append(
                {
                    "target": target,
                    "networks": [f"{group.label} {seed}" for group in groups for seed in group.seeds],
                    "groups": [len(group.seeds) for group in groups],
                }
            )
        layout = {"kind": of.kind, "caption": of.caption, "panels": panels}
        similarities = [self.similarity(target, figure) for target in of.targets]
        return self._job("figure", f"figures/{figure}", {"layout": layout}, *similarities)

    def collection(self) -> Planned:
        """All records that some table shows; those of figures are among them."""
        tables = self.config.tables.values()
        records = {job.artifact: job for table in tables for job in self.cells(table)}
        methods = {
            f"{name}/{transfer}": row.method
            for table in tables
            for row in table.rows
            for column in table.columns
            if (transfer := self.cell(row, column))
            for name in self.shown(table, row.group)
        }
        return self._job("collect", "records", {"methods": methods}, *records.values())

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


def single_name(member: Member) -> str:
    """`erm-s0`; `wide2-s0.0-32` for columns 0 to 31."""
    return member.network if member.columns is None else f"{member.network}.{member.columns[0]}-{member.columns[1]}"
