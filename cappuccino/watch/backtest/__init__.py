"""The page of a backtest: what the subject did, beside everybody else, and whether it was more than luck.

write_backtest_page   one self-contained HTML file
read_backtest         every row of one backtest
"""

from cappuccino.watch.backtest.read import BacktestRows, read_backtest
from cappuccino.watch.backtest.write import write_backtest_page

__all__ = ["BacktestRows", "read_backtest", "write_backtest_page"]
