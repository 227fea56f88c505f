"""Cached features as heads are trained on them: in memory where they are few, else read from their files every pass.

Which of the two it is changes memory and time, never a number: the order of the images depends on their number and
the size of a row only.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrl.errors import UserError
from rrl.features import CHUNK, UNREADABLE, check_split, shape_of
from rrl.members import SPLITS
from rrl.provenance import Card, remake

POOL = 2**28  # bytes of features that are shuffled at once
HELD = 2**30  # bytes of features of a representation that are held in memory; of a GPU, half of what it has free


@dataclass(frozen=True)
class Order:
    """A pass over N images: positions (N,), and where in it the parts begin that lie together on disk."""

    positions: Tensor
    starts: list[int]

    @staticmethod
    def draw(count: int, row_bytes: int, random: torch.Generator) -> "Order":
        """All images at random; or, where they are more than a pool, chunks of neighbours at random in pools,
        and at random within a pool."""
        chunks = max(1, POOL // (CHUNK * row_bytes))
        if count <= chunks * CHUNK:
            return Order(torch.randperm(count, generator=random), [0])
        parts: list[Tensor] = []
        starts = []
        for pool in torch.randperm(-(-count // CHUNK), generator=random).split(chunks):
            rows = (pool[:, None] * CHUNK + torch.arange(CHUNK)).flatten()
            rows = rows[rows < count]
            starts.append(sum(len(part) for part in parts))
            parts.append(rows[torch.randperm(len(rows), generator=random)])
        return Order(torch.cat(parts), starts)


class OnDisk:
    """Features (V, N, D) of one file, or of several one behind the other.

    parts : of each file its features, and which of its views is the first here.
    columns : ranges of the features of the files that are meant, in order.
    """

    def __init__(
        self,
        parts: Sequence[tuple[h5py.Dataset, int]],
        views: int,
        columns: Sequence[tuple[int, int]],
        device: torch.device,
    ):
        self.parts, self.columns, self.device = list(parts), list(columns), device
        rows = [features.shape[1] for features, _ in parts]
        self.ends = np.cumsum(rows).tolist()
        self.shape = (views, sum(rows), sum(stop - start for start, stop in columns))
        self.itemsize: int = parts[0][0].dtype.itemsize
        self._pools: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self._order: Order | None = None

    def read(self, view: int, start: int, stop: int) -> Tensor:
        """Rows start..stop of a view: (stop - start, D) in the type of the cache, on the device."""
        return self._read(view, [(start, stop)])

    def _read(self, view: int, ranges: Sequence[tuple[int, int]]) -> Tensor:
        found = np.empty((sum(stop - start for start, stop in ranges), self.shape[2]), self.parts[0][0].dtype)
        at = 0
        for start, stop in ranges:
            for (features, first), end in zip(self.parts, self.ends, strict=True):
                offset = end - features.shape[1]
                low, high = max(start, offset), min(stop, end)
                if low < high:
                    self._read_part(features, first + view, low - offset, found[at : at + high - low])
                    at += high - low
        return torch.from_numpy(found).to(self.device)

    def _read_part(self, features: h5py.Dataset, view: int, start: int, into: npt.NDArray[Any]) -> None:
        column = 0
        try:
            for low, high in self.columns:
                part = features[view, start : start + len(into), low:high]
                into[:, column : column + high - low] = part
                column += high - low
        except UNREADABLE as error:
            path = features.file.filename
            raise UserError(f"{path}: unreadable ({error}); {remake(path)}") from None

    def batch(self, view: int, order: Order, start: int, stop: int) -> Tensor:
        """The features (B, D) of order.positions[start:stop]. The pools that they lie in stay in memory."""
        if order is not self._order:
            self._pools, self._order = {}, order
        ends = [*order.starts[1:], len(order.positions)]
        needed = [
            n for n, (low, high) in enumerate(zip(order.starts, ends, strict=True)) if low < stop and start < high
        ]
        self._pools = {at: pool for at, pool in self._pools.items() if at[0] == view and at[1] in needed}
        found = []
        for number in needed:
            low, high = order.starts[number], ends[number]
            if (view, number) not in self._pools:
                self._pools[view, number] = self._pool(view, order.positions[low:high])
            rows, places = self._pools[view, number]
            found.append(rows[places[max(start, low) - low : min(stop, high) - low]])
        return found[0] if len(found) == 1 else torch.cat(found)

    def _pool(self, view: int, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of a pool as they lie on disk, and the place of each of `positions` among them."""
        ascending, by_position = positions.sort()
        places = torch.empty_like(by_position)
        places[by_position] = torch.arange(len(positions))
        chunks = (ascending // CHUNK).unique_consecutive().tolist()
        count = self.shape[1]
        ranges = [(chunk * CHUNK, min((chunk + 1) * CHUNK, count)) for chunk in chunks]
        return self._read(view, ranges), places.to(self.device)

    def rows(self, positions: Tensor) -> Tensor:
        """Those rows (V, B, D) in memory, on the device."""
        wanted = torch.empty((self.shape[0], len(positions), self.shape[2]), device=self.device, dtype=self.dtype)
        ascending, by_position = positions.cpu().sort()
        chunks = ascending // CHUNK
        for chunk in chunks.unique_consecutive().tolist():
            here = chunks == chunk
            start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, self.shape[1])
            for view in range(self.shape[0]):
                found = self.read(view, start, stop)
                wanted[view, by_position[here].to(self.device)] = found[(ascending[here] - start).to(self.device)]
        return wanted

    @property
    def dtype(self) -> torch.dtype:
        return torch.from_numpy(np.empty(0, self.parts[0][0].dtype)).dtype


@dataclass
class Data:
    """features (V, N, D) in the type of the cache, and labels (N,), of one split."""

    features: Tensor | OnDisk
    labels: Tensor

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def order(self, random: torch.Generator) -> Order:
        """Of a pass over the images."""
        return Order.draw(len(self.labels), self.features.shape[2] * self.features.itemsize, random)

    def batch(self, view: int, order: Order, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """features (B, D) and labels (B,) of order.positions[start:stop]."""
        chosen = order.positions[start:stop].to(self.device)
        if isinstance(self.features, OnDisk):
            return self.features.batch(view, order, start, stop), self.labels[chosen]
        return self.features[view][chosen], self.labels[chosen]

    def slices(self, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """features (B, D) of view 0, and labels (B,), in order; B is `rows` or less."""
        for start in range(0, len(self.labels), rows):
            stop = min(start + rows, len(self.labels))
            if isinstance(self.features, OnDisk):
                yield self.features.read(0, start, stop), self.labels[start:stop]
            else:
                yield self.features[0, start:stop], self.labels[start:stop]

    def take(self, positions: Tensor) -> "Data":
        """Of the images at `positions` (B,), in memory."""
        positions = positions.to(self.device)
        if isinstance(self.features, OnDisk):
            return Data(self.features.rows(positions), self.labels[positions])
        return Data(self.features[:, positions], self.labels[positions])

    def with_columns(self, columns: Sequence[tuple[int, int]]) -> "Data":
        """Of these ranges of the features, in order."""
        if isinstance(self.features, OnDisk):
            if self.features.columns != [(0, self.features.shape[2])]:
                raise NotImplementedError("ranges of ranges")
            disk = self.features
            return Data(OnDisk(disk.parts, disk.shape[0], columns, disk.device), self.labels)
        chosen = torch.cat([torch.arange(start, stop) for start, stop in columns]).to(self.device)
        return Data(self.features[:, :, chosen], self.labels)


def join(train: Data, val: Data) -> Data:
    """The images of both; of val its last views, as many as train has."""
    labels = torch.cat([train.labels, val.labels])
    first, second = train.features, val.features
    if isinstance(first, OnDisk):
        assert isinstance(second, OnDisk)
        views, skipped = first.shape[0], second.shape[0] - first.shape[0]
        parts = [*first.parts, *((features, view + skipped) for features, view in second.parts)]
        return Data(OnDisk(parts, views, first.columns, first.device), labels)
    assert isinstance(second, Tensor)
    return Data(torch.cat([first, second[-len(first) :]], dim=1), labels)


def read_data(representation: Card, device: torch.device) -> dict[str, Data]:
    """All splits of a representation, on the device. Raises UserError like check_split."""
    paths = {split: representation.folder / f"{split}.h5" for split in SPLITS}
    shapes = {split: shape_of(path) for split, path in paths.items()}
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes.values())
    held = size <= (HELD if device.type == "cpu" else torch.cuda.mem_get_info(device)[0] // 2)
    data = {}
    for split, (shape, dtype) in shapes.items():
        if held:
            into = np.empty(shape, dtype)
            labels = check_split(representation, split, into)
            features: Tensor | OnDisk = torch.from_numpy(into).to(device)
        else:
            labels = check_split(representation, split)
            dataset = h5py.File(paths[split], "r")["features"]
            features = OnDisk([(dataset, 0)], shape[0], [(0, shape[2])], device)
        data[split] = Data(features, torch.from_numpy(labels).to(device))
    return data
