"""A clamp that gradients come back through."""

from __future__ import annotations

from torch import Tensor


def unit_clamp(values: Tensor) -> Tensor:
    """Return `values` cut to [0, 1], with the gradient of not cutting (a straight-through estimate).

    The true gradient is 0 outside, and what once wanted nothing would want nothing for ever. Letting only those
    gradients through that lead back inside would be no better: luck alone would then pull everybody inside.
    """
    clamped = values.detach().clamp(0.0, 1.0)
    return clamped + (values - values.detach()) if values.requires_grad else clamped
