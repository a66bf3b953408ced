"""Cappuccino: from market bars to an agent that trades, every stage a table."""

__version__ = "0.1.0"
