"""Cached features as heads are trained on them: in memory where they are few, else read from their files every pass.

Which of the two it is changes memory and time, never a number: the order of the images depends on their number and
the size of a row only.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrl.job import Card
from rrl.store.features import CHUNK
from rrl.store.members import SPLITS
from rrl.store.read_features import Columns, read_split, shape_of
from rrl.training.device import on_device

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
    """Features (V, N, D) in files, read onto a device when they are needed.

    parts : one after the other, some rows each; each part as columns of several files side by side.
    """

    def __init__(self, parts: Sequence[Sequence[Columns]], views: int, device: torch.device):
        self.parts, self.device = [list(part) for part in parts], device
        rows = [part[0].features.shape[1] for part in self.parts]
        self.ends: list[int] = np.cumsum(rows).tolist()
        self.shape = (views, sum(rows), sum(columns.width for columns in self.parts[0]))
        self.itemsize: int = self.parts[0][0].features.dtype.itemsize
        self.dtype = torch.from_numpy(np.empty(0, self.parts[0][0].features.dtype)).dtype
        self._pools: dict[tuple[int, int], tuple[list[Tensor], Tensor]] = {}
        self._order: Order | None = None

    def read(self, view: int, start: int, stop: int) -> Tensor:
        """Rows start..stop of a view: (stop - start, D) in the type of the cache, on the device."""
        return torch.cat(self.read_side_by_side(view, [(start, stop)]), dim=1)

    def read_side_by_side(self, view: int, ranges: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Ranges of rows, an array (B, D of the file) for each of the files side by side."""
        count = sum(stop - start for start, stop in ranges)
        place = np.empty(count * self.shape[2], self.parts[0][0].features.dtype)  # at once: the system maps it faster
        ends = np.cumsum([count * columns.width for columns in self.parts[0]])[:-1]
        targets = [part.reshape(count, -1) for part in np.split(place, ends)]
        at = 0
        for part, end in zip(self.parts, self.ends, strict=True):
            offset = end - part[0].features.shape[1]
            here = [(max(start, offset) - offset, min(stop, end) - offset) for start, stop in ranges]
            here = [(start, stop) for start, stop in here if start < stop]
            rows = slice(at, at + sum(stop - start for start, stop in here))
            at = rows.stop
            for columns, into in zip(part, targets, strict=True):
                columns.read(view, here, into[rows])
        return [torch.from_numpy(rows).to(self.device) for rows in targets]

    def batch(self, view: int, order: Order, start: int, stop: int) -> Tensor:
        """The features (B, D) of order.positions[start:stop]. The pools that they lie in stay in memory."""
        if order is not self._order:
            self._pools, self._order = {}, order
        ends = [*order.starts[1:], len(order.positions)]
        needed = [
            n for n, (low, high) in enumerate(zip(order.starts, ends, strict=True)) if low < stop and start < high
        ]
        self._pools = {at: pool for at, pool in self._pools.items() if at[0] == view and at[1] in needed}
        pieces = []
        for number in needed:
            low, high = order.starts[number], ends[number]
            if (view, number) not in self._pools:
                self._pools[view, number] = self._pool(view, order.positions[low:high])
            files, places = self._pools[view, number]
            chosen = places[max(start, low) - low : min(stop, high) - low]
            pieces.append(torch.cat([rows[chosen] for rows in files], dim=1))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _pool(self, view: int, positions: Tensor) -> tuple[list[Tensor], Tensor]:
        """The rows of a pool as they lie on disk, in ascending order, and the place of each of `positions` in it."""
        ascending, by_position = positions.sort()
        places = torch.empty_like(by_position)
        places[by_position] = torch.arange(len(positions))
        chunks = (ascending // CHUNK).unique_consecutive().tolist()
        count = self.shape[1]
        ranges = [(chunk * CHUNK, min((chunk + 1) * CHUNK, count)) for chunk in chunks]
        return self.read_side_by_side(view, ranges), places.to(self.device)

    def rows(self, positions: Tensor) -> Tensor:
        """The rows (V, B, D) at positions (B,), in memory on the device."""
        wanted = torch.empty((self.shape[0], len(positions), self.shape[2]), device=self.device, dtype=self.dtype)
        ascending, by_position = positions.cpu().sort()
        chunks = ascending // CHUNK
        for chunk in chunks.unique_consecutive().tolist():
            here = chunks == chunk
            start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, self.shape[1])
            for view in range(self.shape[0]):
                chunk_rows = self.read(view, start, stop)
                places = (ascending[here] - start).to(self.device)
                wanted[view, by_position[here].to(self.device)] = chunk_rows[places]
        return wanted

    def with_columns(self, ranges: Sequence[tuple[int, int]]) -> "OnDisk":
        """Only these ranges of the features, in order."""
        parts: list[list[Columns]] = []
        for part in self.parts:
            starts = np.cumsum([0, *(columns.width for columns in part)]).tolist()
            chosen = [
                columns.part(max(start - at, 0), min(stop - at, columns.width))
                for start, stop in ranges
                for columns, at in zip(part, starts, strict=False)
            ]
            parts.append([columns for columns in chosen if columns.width > 0])
        return OnDisk(parts, self.shape[0], self.device)


@dataclass
class Data:
    """features (V, N, D) in the type of the cache, and labels (N,), of one split."""

    features: Tensor | OnDisk
    labels: Tensor

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def order(self, random: torch.Generator) -> Order:
        """A random order for a pass over the images. Its positions lie where the features do."""
        order = Order.draw(len(self.labels), self.features.shape[2] * self.features.itemsize, random)
        if isinstance(self.features, OnDisk):
            return order
        return replace(order, positions=order.positions.to(self.device))

    def batch(self, view: int, order: Order, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """features (B, D) and labels (B,) of order.positions[start:stop]."""
        chosen = order.positions[start:stop]
        if isinstance(self.features, OnDisk):
            return self.features.batch(view, order, start, stop), self.labels[on_device(chosen, self.device)]
        return self.features[view][chosen], self.labels[chosen]

    def slices(self, rows: int, view: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """features (B, D) of a view, and labels (B,), in order; B is `rows` or less."""
        for start in range(0, len(self.labels), rows):
            stop = min(start + rows, len(self.labels))
            if isinstance(self.features, OnDisk):
                yield self.features.read(view, start, stop), self.labels[start:stop]
            else:
                yield self.features[view, start:stop], self.labels[start:stop]

    def take(self, positions: npt.NDArray[np.int64]) -> "Data":
        """The images at `positions` (B,), in memory."""
        chosen = torch.from_numpy(positions).to(self.device)
        if isinstance(self.features, OnDisk):
            return Data(self.features.rows(chosen), self.labels[chosen])
        return Data(self.features[:, chosen], self.labels[chosen])

    def with_columns(self, columns: Sequence[tuple[int, int]]) -> "Data":
        """Only these ranges of the features, in order."""
        if isinstance(self.features, OnDisk):
            return Data(self.features.with_columns(columns), self.labels)
        chosen = torch.cat([torch.arange(start, stop) for start, stop in columns]).to(self.device)
        return Data(self.features[:, :, chosen], self.labels)


def join(train: Data, val: Data) -> Data:
    """The images of both splits; of val its last views, as many as train has."""
    labels = torch.cat([train.labels, val.labels])
    first, second = train.features, val.features
    if isinstance(first, OnDisk):
        assert isinstance(second, OnDisk)
        views, skipped = first.shape[0], second.shape[0] - first.shape[0]
        after = [[replace(columns, first=columns.first + skipped) for columns in part] for part in second.parts]
        return Data(OnDisk([*first.parts, *after], views, first.device), labels)
    assert isinstance(second, Tensor)
    return Data(torch.cat([first, second[-len(first) :]], dim=1), labels)


def read_data(representation: Card, device: torch.device) -> dict[str, Data]:
    """All splits of a representation, on the device: in memory where they are few. Raises UserError like read_split."""
    shapes = {split: shape_of(representation.folder / f"{split}.h5") for split in SPLITS}
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes.values())
    held = size <= (HELD if device.type == "cpu" else torch.cuda.mem_get_info(device)[0] // 2)
    data = {}
    for split, (shape, _) in shapes.items():
        features: Tensor | OnDisk
        if held:
            values, labels = read_split(representation, split)
            features = torch.from_numpy(values).to(device)
        else:
            columns, labels = read_split(representation, split, in_memory=False)
            features = OnDisk([columns], shape[0], device)
        data[split] = Data(features, torch.from_numpy(labels).to(device))
    return data
