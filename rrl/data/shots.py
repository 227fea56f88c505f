"""Training images by number of shots."""

import numpy as np
import numpy.typing as npt

from rrl.errors import UserError


def first_of_each_class(labels: npt.NDArray[np.int64], shots: int) -> npt.NDArray[np.int64]:
    """Positions of the first `shots` images of each class, in order. Raises UserError if a class has fewer."""
    chosen = []
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        if len(positions) < shots:
            raise UserError(f"class {label}: found {len(positions)} training images, shots needs {shots}")
        chosen.append(positions[:shots])
    return np.sort(np.concatenate(chosen))
