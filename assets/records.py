"""Tables that no asset materialises: written beside others, by commands, or by the user."""

from assets.tables import table_spec

DEPS = {
    "ops.syncs": ("market.bars",),
    "ops.api_errors": ("market.bars",),
    "ops.data_quality": ("market.bars",),
    "features.builds": ("market.bars_all",),
    "features.sentiment": (),
    "lab.audits": ("lab.trials",),
    "promotion.live_confirmations": ("promotion.decisions",),
    "lab.reproductions": ("lab.trials",),
    "lab.variants": ("lab.trials",),
    "lab.backtests": ("market.bars_all",),
    **dict.fromkeys(
        (
            "lab.backtest_measures",
            "lab.backtest_equity",
            "lab.backtest_days",
            "lab.backtest_fills",
            "lab.backtest_trades",
            "lab.backtest_attribution",
            "lab.backtest_timing",
        ),
        ("lab.backtests",),
    ),
    "lab.threshold_studies": ("market.bars_all",),
    "lab.thresholds": ("lab.threshold_studies",),
    "replay.runs": ("market.bars",),
    "replay.steps": ("replay.runs",),
    "replay.decisions": ("replay.runs",),
    "replay.equity": ("replay.runs",),
    "replay.measures": ("replay.runs",),
}
"""Each with the table whose making, or command, writes it."""

records = [table_spec(table, deps=deps) for table, deps in DEPS.items()]
