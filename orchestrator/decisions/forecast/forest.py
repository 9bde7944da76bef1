"""A forest of regression trees as plain arrays: read without running code, evaluated with numpy alone.

The trees are grown elsewhere (`orchestrator/simulation/forecast/fitting.py`) by scikit-learn: random forests (Breiman 2001, doi
10.1023/A:1010933404324) and extremely randomised trees (Geurts et al. 2006, doi 10.1007/s10994-006-6226-1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
LEAF = -1


@dataclass(frozen=True, eq=False)
class Forest:
    """All nodes of all trees, one after the other.

    Args:
        feature: Column that a node looks at, `LEAF` where it is a leaf; shape [nodes].
        threshold: A row goes left where its value is at most this; shape [nodes].
        left: Index of the left child; its own index at a leaf; shape [nodes].
        right: Index of the right child; shape [nodes].
        value: Prediction at a leaf; shape [nodes].
        roots: Index of every tree's first node; shape [trees].

    Raises:
        ValueError: If the arrays do not fit together.
    """

    feature: npt.NDArray[np.int16]
    threshold: npt.NDArray[np.float32]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    roots: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        nodes = len(self.feature)
        if any(len(array) != nodes for array in (self.threshold, self.left, self.right, self.value)):
            raise ValueError("every array of a forest but its roots has one entry per node")
        # A child lies behind its parent, so that no walk can go round in a circle.
        index, inner = np.arange(nodes), self.feature != LEAF
        children = np.stack([self.left, self.right])
        if nodes and (np.any(children >= nodes) or np.any(children[:, inner] <= index[inner])):
            raise ValueError("a node of a forest names a child that is not behind it")
        if np.any(children[:, ~inner] != index[~inner]) or np.any(self.roots >= nodes) or np.any(self.roots < 0):
            raise ValueError("a leaf of a forest stays where it is, and every root is a node")

    def __eq__(self, other: object) -> bool:
        """Whether all arrays are equal."""
        return isinstance(other, Forest) and all(
            np.array_equal(mine, theirs)
            for mine, theirs in zip(self.arrays().values(), other.arrays().values(), strict=True)
        )

    def __hash__(self) -> int:
        """Forests that are equal have the same size."""
        return hash((len(self.feature), len(self.roots)))

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays by name, as a file holds them."""
        return {
            "feature": self.feature,
            "threshold": self.threshold,
            "left": self.left,
            "right": self.right,
            "value": self.value,
            "roots": self.roots,
        }

    def predict(self, rows: Array) -> Array:
        """Return every tree's prediction for every row, shape [trees, rows]; ``rows`` has shape [rows, columns]."""
        values = rows.astype(np.float32)
        at = np.repeat(self.roots[:, None], len(values), axis=1)
        which = np.broadcast_to(np.arange(len(values)), at.shape)
        while True:
            feature = self.feature[at]
            if (feature == LEAF).all():
                return self.value[at].astype(np.float64)
            goes_left = values[which, np.maximum(feature, 0)] <= self.threshold[at]
            at = np.where(goes_left, self.left[at], self.right[at])
