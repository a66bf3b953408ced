"""One account in plain Python, slow and obvious: what `portfolio.engine` must agree with."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, sqrt

from cappuccino.risk.rules import Rule, Rules, Threshold

DAY_US = 86_400_000_000
CRUMB_USD = 1e-6


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
    observed_us: int = -1
    observed_usd: float = 0.0
    day_start_usd: float = 0.0
    lost_day: bool = False
    peak_usd: float = 0.0
    is_broken: bool = False
    n_buys_today: int = 0
    n_losses: int = 0
    paused_until_us: int = 0
    mean_return_frac: float = 0.0
    mean_square_return: float = 0.0

    @classmethod
    def opened(cls, rules: Rules, cash: float, n_assets: int) -> Oracle:
        return cls(rules, cash, [0.0] * n_assets, [0.0] * n_assets, [0.0] * n_assets)

    def value(self, prices: list[float]) -> float:
        return self.cash + sum(u * p for u, p in zip(self.units, prices, strict=True))

    def step(
        self,
        targets,
        close,
        next_open,
        next_close,
        now_us,
        volume=None,
        sigma=None,
        restless=None,
        correlation=None,
        agreement=None,
    ):
        """Return (fees, slippages, impacts, realised profits, rule flags) of the bar."""
        if self.rules.filter_buys:
            self.observe(self.value(close), now_us)
        orders, protective, fired = self.decide(targets, close, now_us, sigma)
        if self.rules.filter_buys:
            fired |= self.fewer_buys(orders, close, now_us, restless, correlation, agreement)
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

    def observe(self, value, now_us):
        r = self.rules
        if self.observed_us // DAY_US != now_us // DAY_US:
            self.day_start_usd, self.lost_day, self.n_buys_today = value, False, 0
        self.peak_usd = max(self.peak_usd, value)
        if r.limits.daily_loss_frac and value <= self.day_start_usd * (1 - r.limits.daily_loss_frac):
            self.lost_day = True
        if r.limits.drawdown_frac and value <= self.peak_usd * (1 - r.limits.drawdown_frac):
            self.is_broken = True
        if self.observed_usd > 0:
            gain, weight = value / self.observed_usd - 1, 2 / (r.sharpe_bars + 1)
            self.mean_return_frac += weight * (gain - self.mean_return_frac)
            self.mean_square_return += weight * (gain * gain - self.mean_square_return)
        self.observed_us, self.observed_usd = now_us, value

    def fewer_buys(self, orders, close, now_us, restless, correlation, agreement):
        """Lower the buys among `orders` in place, and return the flags of who did."""
        limits, value, fired, n = self.rules.limits, self.value(close), 0, len(close)
        usd = [orders[a] * close[a] for a in range(n)]
        after_sales = self.cash - sum(min(order_usd, 0) for order_usd in usd)
        for a in range(n):
            if usd[a] <= CRUMB_USD:
                continue
            stops = {
                Rule.DAILY_LOSS: limits.daily_loss_frac and self.lost_day,
                Rule.DRAWDOWN_BREAKER: limits.drawdown_frac and self.is_broken,
                Rule.LOSING_STREAK: limits.losing_trades and self.paused_until_us > now_us,
            }
            score = self.score(usd[a], after_sales, value, restless[a], agreement[a])
            if any(stops.values()):
                fired |= sum(rule for rule, is_stopped in stops.items() if is_stopped)
                orders[a] = 0.0
            elif self.rules.min_conviction > 0 and score < self.rules.min_conviction:
                fired |= Rule.CONVICTION
                orders[a] = 0.0
        largest = limits.max_order_frac * value if limits.max_order_frac else inf
        largest = min(largest, limits.max_order_usd or inf)
        n_buys = 0
        for a in range(n):
            if orders[a] * close[a] > largest + CRUMB_USD:
                fired |= Rule.ORDER_SIZE
                orders[a] = largest / close[a]
            if orders[a] * close[a] > CRUMB_USD:
                n_buys += 1
                if limits.max_buys_per_day and self.n_buys_today + n_buys > limits.max_buys_per_day:
                    fired |= Rule.ORDER_RATE
                    orders[a] = 0.0
        if limits.max_correlated_frac:
            alike = [a for a in range(n) if correlation[a] >= limits.correlated_from]
            kept = sum((self.units[a] + min(orders[a], 0)) * close[a] for a in alike)
            bought = sum(max(orders[a], 0) * close[a] for a in alike)
            room = max(limits.max_correlated_frac * value + CRUMB_USD - kept, 0.0)
            for a in alike:
                if orders[a] > 0 and bought > room:
                    fired |= Rule.CORRELATED_EXPOSURE
                    orders[a] *= room / bought
        return int(fired)

    def score(self, buy_usd, cash_usd, value, restless, agreement):
        size = min(1.0, buy_usd / (self.rules.max_weight_frac * value))
        sharpe = self.mean_return_frac / sqrt(self.mean_square_return) if self.mean_square_return > 0 else 0.0
        momentum = 1 / (1 + exp(-sharpe * sqrt(self.rules.sharpe_bars)))
        calm = min(1.0, 1 / restless) if restless > 0 else 1.0
        room = 0.5 * (min(1.0, cash_usd / value) + max(0.0, 1 - (1 - value / self.peak_usd) / 0.15))
        return 0.3 * size + 0.2 * momentum + 0.2 * agreement + 0.15 * calm + 0.15 * room

    def count(self, sizes, pnls, now_us):
        """Count the trades (signed units) of one step."""
        limits = self.rules.limits
        for size, pnl in zip(sizes, pnls, strict=True):
            self.n_buys_today += size > 0
            if size < 0:
                self.n_losses = self.n_losses + 1 if pnl < 0 else 0
        if limits.losing_trades and self.n_losses >= limits.losing_trades:
            self.n_losses, self.paused_until_us = 0, now_us + limits.pause_us

    def fill(self, orders, protective, fired, price, now_us, volume, sigma):
        r, n, costs = self.rules, len(price), self.rules.costs
        maker = costs.maker_share_frac
        fee_frac = ((1 - maker) * costs.fee_bps + maker * costs.maker_fee_bps) / 10_000
        slip = (1 - maker) * (costs.slippage_bps + costs.spread_bps / 2) / 10_000
        impact, held = [0.0] * n, list(self.units)
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
        if r.limits.are_on:
            self.count([self.units[a] - held[a] for a in range(n)], pnls, now_us)
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
