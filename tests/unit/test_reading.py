"""Inputs that other processes make, as for a GPU, are those that are made here."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from rrl.config.settings import PaddedCrop, Photographs, Transform
from rrl.data import reading
from rrl.data.images import Split, inputs
from rrl.data.pictures import Unreadable
from rrl.data.reading import CHUNK, KEPT, Pixels, Readers, stop_all
from rrl.errors import UserError
from rrl.training.device import ahead
from tests.helpers.clones import CLONE

CPU = torch.device("cpu")
COLOUR = Photographs(12, 14, [0.3, 1.0], "bilinear", True, [0.4, 0.5, 0.6], [0.2, 0.3, 0.25])
GREY = PaddedCrop(0.3, 0.4, 2, True)


@pytest.fixture(autouse=True)
def no_process_stays() -> Iterator[None]:
    yield
    stop_all()


def noise(count: int, colours: int) -> Split:
    shape = (count, 16, 16) + ((3,) if colours == 3 else ())
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Split(images, np.arange(count))


def read(data: Split, transform: Transform, wanted: list[reading.Wanted], number: int = 2) -> list[Pixels]:
    return list(Readers.of(data, transform, number).read(wanted))


@pytest.mark.parametrize(("transform", "colours"), [(COLOUR, 3), (GREY, 1)])
def test_batches_are_the_same_in_the_same_order(transform: Transform, colours: int) -> None:
    data = noise(200, colours)
    order = np.random.default_rng(1).permutation(200)
    wanted = [(part, draw) for draw in ("a", None, "b") for part in (order[:70], order[70:71], order[:0], order[71:])]
    assert len(wanted[0][0]) > 2 * CHUNK
    found = read(data, transform, wanted)
    assert [len(batch) for batch in found] == [len(positions) for positions, _ in wanted]
    for batch, (positions, draw) in zip(found, wanted, strict=True):
        assert batch.values.dtype == torch.uint8
        assert torch.equal(batch.on(CPU), inputs(data, positions, transform, draw))


def test_grey_images_in_memory_need_no_process() -> None:
    data = noise(200, 1)
    order = np.random.default_rng(1).permutation(200)
    wanted = [(part, draw) for draw in ("a", None) for part in (order[:70], order[70:70], order[70:])]
    found = list(reading.read(data, GREY, wanted, torch.device("cuda")))
    assert not Readers.kept
    for batch, (positions, draw) in zip(found, wanted, strict=True):
        assert isinstance(batch, Pixels) and batch.values.dtype == torch.uint8
        assert torch.equal(batch.on(CPU), inputs(data, positions, GREY, draw))


def test_processes_stay_for_the_next_pass_whether_or_not_this_one_is_over() -> None:
    data = noise(300, 3)
    wanted: list[reading.Wanted] = [(np.arange(start, start + 50), "x") for start in range(0, 300, 50)]
    readers = Readers.of(data, COLOUR, 2)
    broken_off = readers.read(wanted)
    next(broken_off)
    processes = {worker.pid for worker in readers.loader._iterator._workers}  # type: ignore[union-attr]
    last = list(readers.read(wanted[::-1]))
    assert Readers.of(data, COLOUR, 2) is readers
    assert {worker.pid for worker in readers.loader._iterator._workers} == processes  # type: ignore[union-attr]
    for batch, (positions, draw) in zip(last, wanted[::-1], strict=True):
        assert torch.equal(batch.on(CPU), inputs(data, positions, COLOUR, draw))


def test_no_more_processes_stay_than_for_two_splits() -> None:
    running = []
    for data in [noise(4, 3) for _ in range(KEPT + 1)]:
        read(data, COLOUR, [(np.arange(4), None)])
        running.append(Readers.of(data, COLOUR, 2).loader._iterator._workers)  # type: ignore[union-attr]
    alive = [any(worker.is_alive() for worker in workers) for workers in running]
    assert alive == [False] + [True] * KEPT


def test_an_unreadable_picture_is_the_same_one_line() -> None:
    def open_(reference: object) -> Image.Image:
        if reference == "broken.png":
            raise Unreadable("truncated")
        return Image.new("RGB", (16, 16))

    names = np.array(["whole.png"] * 40 + ["broken.png"], dtype=object)
    data = Split(names, np.arange(41), open_)
    readers = Readers.of(data, COLOUR, 2)
    with pytest.raises(UserError) as caught:
        list(readers.read([(np.arange(41), None)]))
    assert str(caught.value) == "broken.png: truncated"
    assert len(list(readers.read([(np.arange(40), None)]))) == 1  # and they go on


def test_a_signal_for_all_processes_of_a_job_ends_none_that_makes_inputs() -> None:
    data = noise(200, 3)
    readers = Readers.of(data, COLOUR, 2)
    found = readers.read([(np.arange(100), None), (np.arange(100, 200), None)])
    next(found)
    workers = readers.loader._iterator._workers  # type: ignore[union-attr]
    for worker in workers:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGTERM)
        os.kill(worker.pid, signal.SIGINT)
    assert len(next(found)) == 100 and all(worker.is_alive() for worker in workers)


def test_processes_for_batches_made_ahead_end_in_order() -> None:
    """Forked by a thread of a pool they would end with status 1: each would wait for that thread, which is itself."""
    ready = ahead(Readers.of(noise(200, 3), COLOUR, 2).read([(np.arange(100), None)] * 5), torch.device("cuda"))
    workers = Readers.kept[-1].loader._iterator._workers  # type: ignore[union-attr]
    assert len(next(ready)) == 100
    ready.close()  # type: ignore[attr-defined]
    stop_all()
    assert [worker.exitcode for worker in workers] == [0, 0]


KILLED = """
import os, signal, numpy as np, torch
from rrl.training.device import ahead
from tests.unit.test_reading import COLOUR, Readers, noise
ready = ahead(Readers.of(noise(200, 3), COLOUR, 2).read([(np.arange(100), None)] * 5), torch.device("cuda"))
print(*(worker.pid for worker in Readers.kept[-1].loader._iterator._workers), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_die_with_the_job_that_they_read_for() -> None:
    """They hold its locks: a job that goes on from there would find them taken."""
    ended = subprocess.run([sys.executable, "-c", KILLED], cwd=CLONE, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    for word in ended.stdout.split():  # a process that has died may be seen until its new parent has asked for it
        with suppress(psutil.NoSuchProcess):
            psutil.Process(int(word)).wait(timeout=60)


def test_the_global_random_state_is_left_alone() -> None:
    """It is part of the saved state of a training."""
    state = torch.get_rng_state()
    read(noise(10, 3), COLOUR, [(np.arange(10), "x")])
    assert torch.equal(torch.get_rng_state(), state)


def test_python_ends_while_processes_wait_for_work() -> None:
    code = (
        "import numpy as np; from rrl.data.reading import Readers; from rrl.data.images import Split\n"
        "from tests.unit.test_reading import COLOUR, noise\n"
        "print(len(next(Readers.of(noise(90, 3), COLOUR, 2).read([(np.arange(90), None)] * 9))))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=CLONE, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("90\n", "", 0)
