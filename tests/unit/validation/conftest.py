"""A lab whose only model is ready to be tested."""

from __future__ import annotations

import pytest

from tests.unit.small_lab import add_one_model


@pytest.fixture
def lab(full_warehouse, small_settings):
    """A warehouse with bars and one trained model."""
    add_one_model(full_warehouse, small_settings.artifacts)
    return full_warehouse
