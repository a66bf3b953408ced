"""Run policies over bars through the engine: the one way an agent, a match or a baseline is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray, TimeArray
from cappuccino.portfolio import engine
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.portfolio.conditions import Conditions, conditions_of
from cappuccino.portfolio.measures import Activity, Measures, measure
from cappuccino.risk.rules import Rules

Policy = Callable[[int, Accounts], Tensor]
"""(row t of the panel, accounts after close[t]) -> target weights (N, A); it may see rows up to t only.

A policy that counts votes may also have a method `agreement(t, accounts) -> Tensor | None`, (N, A): the share of the
votes that agree with what came of them.
"""

_EPOCH = np.datetime64(0, "us")


def agreement_of(policy: object, t: int, accounts: Accounts) -> Tensor | None:
    """Return how far those agree who decided at row t, (N, A); None where nobody votes."""
    told: Tensor | None = policy.agreement(t, accounts) if hasattr(policy, "agreement") else None
    return told


def decide_alone(
    policies: Sequence[Policy], rows: Sequence[int], accounts: Sequence[Accounts]
) -> tuple[Tensor, Tensor | None]:
    """Return what each policy wants on its row for its own account, one by one: a batch may round another way.

    Target weights (N, A); and how far those agree who decided, (N, A), 1 where nobody votes, None where nobody does at
    all.
    """
    wanted, agreed = [], []
    for policy, t, one in zip(policies, rows, accounts, strict=True):
        wanted.append(policy(t, one))
        agreed.append(agreement_of(policy, t, one))
    if all(agreement is None for agreement in agreed):
        return torch.cat(wanted), None
    ones = torch.ones_like(wanted[0])
    return torch.cat(wanted), torch.cat([ones if agreement is None else agreement for agreement in agreed])


@dataclass(frozen=True)
class EpisodeResult:
    """T steps of N accounts in A assets; row k of a (T, ...) array is the step to `closed_at[k + 1]`."""

    interval: Interval
    closed_at: TimeArray
    """(T + 1,) datetime64[us] UTC: when each value of `equity_usd` was taken."""
    equity_usd: FloatArray
    """(T + 1, N) account value at each close; the first before any trade."""
    weights: FloatArray
    """(T, N, A) shares of the account's value at the end of each step."""
    units: FloatArray
    """(T, N, A) signed units traded at the open of each step."""
    price_usd: FloatArray
    """(T, N, A) fill prices, slippage included; meaningful where units are not 0."""
    fee_usd: FloatArray
    """(T, N, A)."""
    slippage_usd: FloatArray
    """(T, N, A) distance from the market's price times units: slippage, half the spread, impact."""
    impact_usd: FloatArray
    """(T, N, A) the part of it that is impact."""
    realized_pnl_usd: FloatArray
    """(T, N, A) of sales, net of the fees of both sides."""
    rules: npt.NDArray[np.int64]
    """(T, N) sums of `Rule` flags."""
    final: Accounts
    """The accounts at the last close, to go on from."""

    @property
    def returns(self) -> FloatArray:
        """(T, N) net return of each step; 0 once an account is worth nothing."""
        before = self.equity_usd[:-1]
        gains: FloatArray = np.divide(self.equity_usd[1:], before, out=np.ones_like(before), where=before > 0) - 1.0
        return gains

    @property
    def traded_usd(self) -> FloatArray:
        """(T, N) unsigned notional value traded."""
        traded: FloatArray = (np.abs(self.units) * self.price_usd).sum(axis=2)
        return traded

    def trade_pnls_usd(self, account: int) -> FloatArray:
        """Return the realised profit or loss of each sale of one account, in time order."""
        is_sale = self.units[:, account] < 0
        pnls: FloatArray = self.realized_pnl_usd[:, account][is_sale]
        return pnls

    def activity(self, account: int) -> Activity:
        """Return what one account did: its sales, fills, turnover, exposure and costs."""
        before = self.equity_usd[:-1, account]
        traded = self.traded_usd[:, account]
        return Activity(
            trade_pnls_usd=self.trade_pnls_usd(account),
            n_fills=int(np.count_nonzero(self.units[:, account])),
            turnover_frac=float(np.divide(traded, before, out=np.zeros_like(before), where=before > 0).sum()),
            exposure_frac=float(self.weights[:, account].sum(axis=1).mean()),
            fees_usd=float(self.fee_usd[:, account].sum()),
            slippage_usd=float(self.slippage_usd[:, account].sum()),
        )

    def measures(self, account: int, benchmark_returns: FloatArray) -> Measures:
        """Return the measures of one account beside (T,) `baselines.benchmark_returns`."""
        return measure(self.returns[:, account], benchmark_returns, self.interval, self.activity(account))


def run(
    policy: Policy,
    panel: BarPanel,
    start: int,
    stop: int,
    rules: Rules,
    *,
    n_accounts: int = 1,
    cash_usd: float = 10_000.0,
    accounts: Accounts | None = None,
) -> EpisodeResult:
    """Let `policy` trade rows [start, stop): decide at close[t], fill at open[t+1], mark at close[t+1].

    The first decision is at the close of row `start`, the last fill at the open of row `stop - 1`, so T is
    `stop - start - 1`. Starts from `accounts` when given (`EpisodeResult.final` of the run that ended on row
    `start`), otherwise from `n_accounts` flat ones with `cash_usd` each. Conditions, where the rules need them, are
    those of `panel`, with all its bars before `start`. Raises DataError when the range has no step.
    """
    if not 0 <= start < stop - 1 < len(panel):
        raise DataError(f"rows [{start}, {stop}) of a panel of {len(panel)} bars hold no step; give at least two bars")
    state = open_accounts(n_accounts, len(panel.symbols), cash_usd) if accounts is None else accounts
    opens = torch.tensor(panel.open[start:stop], dtype=torch.float64, device=state.device)
    closes = torch.tensor(panel.close[start:stop], dtype=torch.float64, device=state.device)
    opened_us = ((panel.opened_at[start:stop] - _EPOCH) // np.timedelta64(1, "us")).tolist()
    interval_us = panel.interval.us
    engine.require_prices(opens[1:])
    engine.require_prices(closes)
    rules = rules.on(panel.symbols, state.device)
    known = _conditions(panel, start, stop, rules, state.device)
    # Taken apart once: that is faster than to index on every step.
    opens_usd, closes_usd = opens.unbind(), closes.unbind()
    with torch.inference_mode():
        tape = _Tape(stop - start - 1, state, rules.costs.impact > 0)
        state = engine.mark(state, closes_usd[0])
        tape.equity_usd[0] = state.value(closes_usd[0])
        for k in range(stop - start - 1):
            targets = policy(start + k, state)
            engine.require_weights(targets)
            agreement = agreement_of(policy, start + k, state) if rules.min_conviction > 0 else None
            decided_us, filled_us = opened_us[k] + interval_us, opened_us[k + 1]
            state, taken = engine.step(
                state,
                targets,
                closes_usd[k],
                opens_usd[k + 1],
                closes_usd[k + 1],
                decided_us,
                filled_us,
                rules,
                known[k],
                agreement,
                checked=False,
            )
            tape.record(k, taken, state.weights(closes_usd[k + 1]))
    # A copy made out here can be computed with anywhere, tensors of inference mode cannot.
    return tape.result(panel.interval, panel.closed_at[start:stop], state.copy())


def _conditions(
    panel: BarPanel, start: int, stop: int, rules: Rules, device: torch.device
) -> Sequence[Conditions | None]:
    """Return the conditions after each of rows [start, stop), as far as the rules need them."""
    if not rules.need_conditions:
        return [None] * (stop - start)
    return conditions_of(panel.rows(0, stop)).at(slice(start, stop)).to(device).rows()


class _Tape:
    """Room for everything that the steps of an episode report."""

    def __init__(self, n_steps: int, accounts: Accounts, has_impact: bool) -> None:
        n, a, device = len(accounts), accounts.n_assets, accounts.device
        self.equity_usd = torch.zeros(n_steps + 1, n, dtype=torch.float64, device=device)
        self.rules = torch.zeros(n_steps, n, dtype=torch.int64, device=device)
        # units, price, fee, slippage, realised profit or loss; and weights
        self.fills = torch.zeros(6, n_steps, n, a, dtype=torch.float64, device=device)
        # One zero for all steps where there is none: it takes no room.
        nothing = torch.zeros(1, 1, 1, dtype=torch.float64, device=device).expand(n_steps, n, a)
        self.has_impact, self.impact_usd = has_impact, nothing.clone() if has_impact else nothing

    def record(self, k: int, step: engine.Step, weights: Tensor) -> None:
        self.equity_usd[k + 1] = step.value_after_usd
        self.rules[k] = step.rules
        fills = step.fills
        if self.has_impact:
            self.impact_usd[k] = fills.impact_usd
        self.fills[:, k] = torch.stack(
            (fills.units, fills.price_usd, fills.fee_usd, fills.slippage_usd, fills.realized_pnl_usd, weights)
        )

    def result(self, interval: Interval, closed_at: TimeArray, final: Accounts) -> EpisodeResult:
        units, price, fee, slippage, realized, weights = self.fills.cpu().numpy()
        return EpisodeResult(
            interval=interval,
            closed_at=closed_at,
            equity_usd=self.equity_usd.cpu().numpy(),
            weights=weights,
            units=units,
            price_usd=price,
            fee_usd=fee,
            slippage_usd=slippage,
            impact_usd=self.impact_usd.cpu().numpy(),
            realized_pnl_usd=realized,
            rules=self.rules.cpu().numpy(),
            final=final,
        )
