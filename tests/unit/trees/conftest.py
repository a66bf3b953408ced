"""The small warehouse of the studies."""

from tests.unit.search.conftest import lab, searched_market

__all__ = ["lab", "searched_market"]
