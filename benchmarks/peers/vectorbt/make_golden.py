"""Write tests/golden/vectorbt/equity.json: what vectorbt makes of simple strategies on the bars of `inputs`.

Run with the environment of this folder: `make peers`, then
`benchmarks/.peers/vectorbt/bin/python benchmarks/peers/vectorbt/make_golden.py`.

Orders of row t are sized at close[t] and filled at open[t + 1], in vectorbt: on bar t + 1, with the price of that
bar's open and the close before it as the price that the account is valued at.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import inputs
import numpy as np
import pandas as pd
import vectorbt as vbt

GOLDEN = Path(__file__).resolve().parents[3] / "tests/golden/vectorbt/equity.json"


def traded(case: inputs.Case) -> dict[str, Any]:
    """Return equity at each close and all orders of one strategy."""
    opened, close = inputs.bars()
    nothing = np.full((1, inputs.N_ASSETS), np.nan)
    portfolio = vbt.Portfolio.from_orders(
        close=pd.DataFrame(close),
        size=pd.DataFrame(np.vstack([nothing, case.weights[:-1]])),
        size_type="targetpercent",
        direction="longonly",
        price=pd.DataFrame(opened),
        val_price=pd.DataFrame(np.vstack([close[:1], close[:-1]])),
        fees=case.fee_bps / 1e4,
        slippage=case.slippage_bps / 1e4,
        init_cash=inputs.CASH_USD,
        cash_sharing=True,
        group_by=True,
        call_seq="auto",
        freq="1h",
    )
    orders = portfolio.orders.records
    side = np.where(orders["side"] == 0, 1.0, -1.0)
    return {
        "equity_usd": portfolio.value().tolist(),
        "orders": {
            "bar": orders["idx"].tolist(),
            "asset": orders["col"].tolist(),
            "units": (side * orders["size"]).tolist(),
            "price_usd": orders["price"].tolist(),
            "fee_usd": orders["fees"].tolist(),
        },
    }


def main() -> None:
    golden = {
        "made_by": "benchmarks/peers/vectorbt/make_golden.py",
        "versions": {name: version(name) for name in ("vectorbt", "numpy", "numba", "pandas")},
        "seed": inputs.SEED,
        "sha256": inputs.sha256(),
        "cases": {name: traded(case) for name, case in inputs.cases().items()},
    }
    GOLDEN.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
