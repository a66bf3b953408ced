"""One account in plain Python, slow and obvious: what `portfolio.engine` must agree with."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from cappuccino.risk.rules import Rule, Rules, Threshold


def of_asset(threshold: Threshold, a: int) -> float:
    """Return one number for all, or that of asset `a`."""
    return threshold if isinstance(threshold, float) else threshold[a].item()


@dataclass
class Oracle:
    """A single account that trades bar by bar; lists have one entry per asset."""

    rules: Rules
    cash: float
    units: list[float]
    entry: list[float]
    peak_price: list[float]
    cycle_base: float = 0.0
    cycle_peak: float = 0.0
    in_cycle: bool = False
    took_profit: bool = False
    out_until_us: int = 0

    @classmethod
    def opened(cls, rules: Rules, cash: float, n_assets: int) -> Oracle:
        return cls(rules, cash, [0.0] * n_assets, [0.0] * n_assets, [0.0] * n_assets)

    def value(self, prices: list[float]) -> float:
        return self.cash + sum(u * p for u, p in zip(self.units, prices, strict=True))

    def step(self, targets, close, next_open, next_close, now_us, volume=None, sigma=None):
        """Return (fees, slippages, impacts, realised profits, rule flags) of the bar."""
        orders, protective, fired = self.decide(targets, close, now_us, sigma)
        costs = self.fill(orders, protective, fired, next_open, now_us, volume, sigma)
        self.look(next_close)
        return (*costs, fired)

    def decide(self, targets, close, now_us, sigma):
        r, value, fired = self.rules, self.value(close), 0
        n = len(close)
        unit, units = 1.0, [1.0] * n
        if r.protection_scaled:
            unit = sum(self.units[a] * close[a] / value * sigma[a] for a in range(n))
        if r.position_scaled:
            units = sigma
        stop_frac = r.portfolio_trailing_stop_frac * unit
        to_cash_frac, take_frac = r.move_to_cash_frac * unit, r.profit_take_frac * unit
        stop = self.in_cycle and stop_frac > 0 and value <= self.cycle_peak * (1 - stop_frac)
        to_cash = self.in_cycle and not stop and to_cash_frac > 0
        to_cash = to_cash and value >= self.cycle_base * (1 + to_cash_frac)
        take = self.in_cycle and not (stop or to_cash or self.took_profit) and take_frac > 0
        take = take and value >= self.cycle_base * (1 + take_frac)
        out = r.move_to_cash_frac > 0 and now_us < self.out_until_us
        fired |= stop * Rule.TRAILING_STOP | to_cash * Rule.MOVE_TO_CASH | take * Rule.PROFIT_TAKE
        orders, protective = [], []
        for a in range(n):
            if targets[a] > r.max_weight_frac:
                fired |= Rule.WEIGHT_CAP
            wanted = min(targets[a], r.max_weight_frac) * value / close[a] - self.units[a]
            order = wanted * r.dampening
            rest_usd = (self.units[a] + order) * close[a]
            if r.dampening < 1 and targets[a] <= 0 and rest_usd < r.costs.smallest_order_usd:
                order = -self.units[a]
            if out and order > 0:
                fired |= Rule.KEPT_OUT
                order = 0.0
            held = self.units[a] > 0
            loss_frac = of_asset(r.stop_loss_frac, a) * units[a]
            trail_frac = of_asset(r.position_trailing_stop_frac, a) * units[a]
            loss = held and loss_frac > 0 and close[a] <= self.entry[a] * (1 - loss_frac)
            trail = held and trail_frac > 0 and close[a] <= self.peak_price[a] * (1 - trail_frac)
            fired |= loss * Rule.STOP_LOSS | trail * Rule.POSITION_TRAILING_STOP
            if stop or to_cash or loss or trail:
                order = -self.units[a]
            elif take:
                order = min(order, -0.5 * self.units[a], 0.0)
            orders.append(order)
            protective.append(bool(held and (stop or to_cash or loss or trail or take)))
        return orders, protective, int(fired)

    def fill(self, orders, protective, fired, price, now_us, volume, sigma):
        r, n, costs = self.rules, len(price), self.rules.costs
        maker = costs.maker_share_frac
        fee_frac = ((1 - maker) * costs.fee_bps + maker * costs.maker_fee_bps) / 10_000
        slip = (1 - maker) * (costs.slippage_bps + costs.spread_bps / 2) / 10_000
        impact = [0.0] * n
        for a in range(n):
            if costs.impact > 0:
                wanted_usd = (min(-orders[a], self.units[a]) if orders[a] < 0 else orders[a]) * price[a]
                impact[a] = min(costs.impact * sigma[a] * sqrt(wanted_usd / max(volume[a], 1.0)), 0.5)
        moved = [slip + impact[a] for a in range(n)]
        fees, slippages, impacts, pnls = [0.0] * n, [0.0] * n, [0.0] * n, [0.0] * n
        for a in range(n):
            if orders[a] < 0:
                size, got = min(-orders[a], self.units[a]), price[a] * (1 - moved[a])
                whole = size == self.units[a]
                if size * got < r.costs.smallest_order_usd and not protective[a] and not whole:
                    continue
                fees[a] = size * got * fee_frac
                slippages[a], impacts[a] = size * price[a] * moved[a], size * price[a] * impact[a]
                pnls[a] = size * (got * (1 - fee_frac) - self.entry[a] * (1 + fee_frac))
                self.cash += size * got - fees[a]
                self.units[a] = 0.0 if whole else self.units[a] - size
        buys = [max(order, 0.0) for order in orders]
        bill = sum(buys[a] * price[a] * (1 + moved[a]) * (1 + fee_frac) for a in range(n))
        scale = min(1.0, self.cash / bill) if bill > 0 else 0.0
        for a in range(n):
            size, paid = buys[a] * scale, price[a] * (1 + moved[a])
            if size == 0 or size * paid < r.costs.smallest_order_usd:
                continue
            fees[a] = size * paid * fee_frac
            slippages[a], impacts[a] = size * price[a] * moved[a], size * price[a] * impact[a]
            self.cash -= size * paid + fees[a]
            self.entry[a] = (self.units[a] * self.entry[a] + size * paid) / (self.units[a] + size)
            self.units[a] += size
        self.book(fired, price, now_us)
        return fees, slippages, impacts, pnls

    def book(self, fired, price, now_us):
        for a, units in enumerate(self.units):
            self.entry[a] = self.entry[a] if units > 0 else 0.0
            self.peak_price[a] = max(self.peak_price[a], price[a]) if units > 0 else 0.0
        if fired & Rule.MOVE_TO_CASH:
            self.out_until_us = now_us + self.rules.cash_us
        if not any(self.units):
            self.in_cycle, self.took_profit, self.cycle_base, self.cycle_peak = False, False, 0.0, 0.0
        elif not self.in_cycle:
            self.in_cycle = True
            self.cycle_base = self.cycle_peak = self.value(price)
        if self.in_cycle and fired & Rule.PROFIT_TAKE:
            self.took_profit = True

    def look(self, close):
        for a, units in enumerate(self.units):
            if units > 0:
                self.peak_price[a] = max(self.peak_price[a], close[a])
        if self.in_cycle:
            self.cycle_peak = max(self.cycle_peak, self.value(close))
