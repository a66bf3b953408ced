"""How fast a training could be at best: its matrix products alone, one after the other, and nothing else.

    FLOPs of a product (m, k) @ (k, n)  =  2 m k n
    FLOPs of a step  =  sum over all products of one update  /  environment steps of the update
    limit            =  environment steps of an update  /  time of the same products on random matrices

An update is a rollout and all epochs over it, with everything that is computed again for gradients.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Shape = tuple[int, int, int, int]
"""Batch, m, k, n."""
AT_LEAST_S = 0.05


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the matrix products that run inside its `with` block, by shape."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shapes: Counter[Shape] = Counter()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = operation.overloadpacket.__name__
        if name in _FACTORS:
            self.shapes[_shape(*_FACTORS[name](args))] += 1
        return operation(*args, **(kwargs or {}))

    @property
    def flops(self) -> int:
        return sum(count * flops(shape) for shape, count in self.shapes.items())


_FACTORS: dict[str, Callable[[tuple[Any, ...]], tuple[Tensor, Tensor]]] = {
    "mm": lambda args: (args[0], args[1]),
    "bmm": lambda args: (args[0], args[1]),
    "addmm": lambda args: (args[1], args[2]),
    "baddbmm": lambda args: (args[1], args[2]),
    "linear": lambda args: (args[0].reshape(-1, args[0].shape[-1]), args[1].T),
}


def _shape(left: Tensor, right: Tensor) -> Shape:
    batch = left.shape[0] if left.ndim == 3 else 1
    return batch, left.shape[-2], left.shape[-1], right.shape[-1]


def flops(shape: Shape) -> int:
    batch, m, k, n = shape
    return 2 * batch * m * k * n


def seconds_of(shapes: Counter[Shape], kind: torch.dtype) -> float:
    """Return the time of all products, each measured alone in the type `kind`."""
    return sum(count * seconds(shape, kind) for shape, count in shapes.items())


def seconds(shape: Shape, kind: torch.dtype) -> float:
    """Return the time of one product of random matrices."""
    batch, m, k, n = shape
    left, right = torch.randn(batch, m, k, dtype=kind), torch.randn(batch, k, n, dtype=kind)
    out = torch.empty(batch, m, n, dtype=kind)
    if batch == 1:
        left, right, out = left[0], right[0], out[0]
    torch.matmul(left, right, out=out)
    n_done, started_s = 0, time.perf_counter()
    while (spent_s := time.perf_counter() - started_s) < AT_LEAST_S:
        torch.matmul(left, right, out=out)
        n_done += 1
    return spent_s / n_done
