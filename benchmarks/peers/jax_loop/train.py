"""PPO whose market, rollout and update are one compiled JAX program, in the style of PureJaxRL."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from market_env import CYCLE_FALL_UNIT, CYCLE_GAIN_UNIT, LARGEST, POSITION_GAIN_UNIT, TINY_USD, Accounts, Bars, Terms
from task import Diary, Task


class Account(NamedTuple):
    """One account on its bar; `jax.vmap` makes many of it."""

    cash: Any
    units: Any
    entry: Any
    base: Any
    peak: Any
    in_cycle: Any
    bar: Any
    left: Any


class Market(NamedTuple):
    features: Any
    open: Any
    close: Any


def fresh(key: Any, n_assets: int, train: tuple[int, int], terms: Terms) -> Account:
    """Return a flat account at a random place."""
    at, length = jax.random.split(key)
    zero, none = jnp.zeros(()), jnp.zeros(n_assets)
    bar = jax.random.randint(at, (), train[0], train[1] - 1)
    left = jax.random.randint(length, (), terms.episode_bars // 2, terms.episode_bars + 1)
    return Account(zero + terms.cash_usd, none, none, zero, zero, jnp.zeros((), bool), bar, left)


def trade(account: Account, action: Any, close: Any, open_: Any, next_close: Any, terms: Terms) -> tuple[Account, Any]:
    """Return the account after one bar and its log growth; the steps of `market_env.Accounts.trade`."""
    units = account.units
    before = account.cash + units @ close
    present = units * close / before
    wanted = jnp.clip(action, 0.0, 1.0) * terms.max_weight
    wanted *= jnp.minimum(1.0 / jnp.maximum(wanted.sum(), TINY_USD), 1.0)
    stays = (jnp.abs(wanted - present) < terms.no_trade_band) & (wanted > 0.0)
    order = jnp.where(stays, 0.0, wanted * (before / close) - units)
    price = open_ * (1.0 + jnp.sign(order) * terms.slippage_frac)
    size = jnp.maximum(order, -units)
    gross = size * price
    is_sale = (gross <= -terms.smallest_order_usd) | ((size == -units) & (gross < 0.0))
    sells, buys = jnp.where(is_sale, gross, 0.0), jnp.maximum(gross, 0.0)
    funds = account.cash - sells.sum() * (1.0 - terms.fee_frac)
    scale = jnp.clip(funds / jnp.maximum(buys.sum() * (1.0 + terms.fee_frac), TINY_USD), 0.0, 1.0)
    bought = jnp.where(buys * scale >= terms.smallest_order_usd, size * scale, 0.0)
    size = jnp.where(sells < 0.0, size, bought)
    notional = size * price
    cash = jnp.maximum(account.cash - (notional + jnp.abs(notional) * terms.fee_frac).sum(), 0.0)
    units = units + size
    held = units > 0.0
    entry = account.entry + (price - account.entry) * jnp.maximum(size, 0.0) / jnp.where(held, units, 1.0)
    exposed, value, after = held.any(), cash + units @ open_, cash + units @ next_close
    base = jnp.where(account.in_cycle, account.base, value) * exposed
    peak = jnp.maximum(jnp.where(account.in_cycle, account.peak, value), after) * exposed
    traded = Account(cash, units, entry * held, base, peak, exposed, account.bar + 1, account.left - 1)
    return traded, jnp.log(after / before)


def observe(account: Account, market: Market, lookback: int) -> Any:
    """Return the window up to the account's bar, flat, then the account."""
    close = market.close[account.bar]
    value = account.cash + account.units @ close
    weights = account.units * close / value
    profit = jnp.log(close / jnp.where(account.units > 0, account.entry, close)) / POSITION_GAIN_UNIT
    gain = jnp.log(value / jnp.where(account.in_cycle, account.base, value)) / CYCLE_GAIN_UNIT
    fall = jnp.log(value / jnp.where(account.in_cycle, account.peak, value)) / CYCLE_FALL_UNIT
    own = jnp.stack([weights, profit], axis=1).ravel()
    common = jnp.stack([1.0 - weights.sum(), gain, fall, account.in_cycle, 0.0, 0.0])
    start = (account.bar - lookback + 1, 0, 0)
    window = jax.lax.dynamic_slice(market.features, start, (lookback, *market.features.shape[1:]))
    return jnp.concatenate([window.ravel(), jnp.clip(jnp.concatenate([own, common]), -LARGEST, LARGEST)])


def network(key: Any, sizes: list[int], last_gain: float) -> list[dict[str, Any]]:
    gains = [2.0**0.5] * (len(sizes) - 2) + [last_gain]
    keys, orthogonal = jax.random.split(key, len(gains)), jax.nn.initializers.orthogonal
    shapes = zip(keys, gains, sizes, sizes[1:], strict=False)
    return [{"w": orthogonal(gain)(k, (n_in, n_out)), "b": jnp.zeros(n_out)} for k, gain, n_in, n_out in shapes]


def apply(layers: list[dict[str, Any]], x: Any) -> Any:
    for layer in layers[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x @ layers[-1]["w"] + layers[-1]["b"]


def log_prob(action: Any, mean: Any, log_std: Any) -> Any:
    z = (action - mean) * jnp.exp(-log_std)
    return -(0.5 * z**2 + log_std + 0.5 * jnp.log(2 * jnp.pi)).sum(-1)


def adam(params: Any, moments: tuple[Any, Any, Any], gradient: Any, task: Task) -> tuple[Any, Any]:
    """Return parameters and moments after one step down a gradient that is cut to `max_grad_norm`."""
    norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))
    gradient = jax.tree.map(lambda leaf: leaf * jnp.minimum(1.0, task.max_grad_norm / (norm + 1e-6)), gradient)
    n, first, second = moments
    n, first = n + 1, jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradient)

    def step(p: Any, m: Any, v: Any) -> Any:
        return p - task.learning_rate * (m / (1 - 0.9**n)) / (jnp.sqrt(v / (1 - 0.999**n)) + 1e-5)

    return jax.tree.map(step, params, first, second), (n, first, second)


def loss(params: Any, batch: Any, task: Task) -> Any:
    seen, action, old_log_prob, advantage, target = batch
    ratio = jnp.exp(log_prob(action, apply(params["actor"], seen), params["log_std"]) - old_log_prob)
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    clipped = jnp.clip(ratio, 1 - task.clip, 1 + task.clip)
    actor = -jnp.minimum(ratio * advantage, clipped * advantage).mean()
    critic = ((apply(params["critic"], seen)[:, 0] - target) ** 2).mean()
    return actor + 0.5 * critic - task.entropy_weight * params["log_std"].sum()


def rollout(params: Any, accounts: Account, key: Any, market: Market, task: Task, train: tuple[int, int]) -> Any:
    n_assets, act = market.close.shape[1], jax.vmap(partial(observe, market=market, lookback=task.lookback))

    def one(carry: Any, key: Any) -> Any:
        accounts, seen = carry
        noise_key, place_key = jax.random.split(key)
        mean, value = apply(params["actor"], seen), apply(params["critic"], seen)[:, 0]
        action = mean + jnp.exp(params["log_std"]) * jax.random.normal(noise_key, mean.shape)
        bar = accounts.bar
        prices = market.close[bar], market.open[bar + 1], market.close[bar + 1]
        after, growth = jax.vmap(partial(trade, terms=task.terms))(accounts, jnp.clip(action, -1, 1), *prices)
        is_cut = (after.left <= 0) | (after.bar >= train[1] - 1)
        next_seen = act(after)
        next_value = apply(params["critic"], next_seen)[:, 0]
        new = jax.vmap(lambda k: fresh(k, n_assets, train, task.terms))(jax.random.split(place_key, len(bar)))
        go_on = jax.tree.map(lambda a, b: jnp.where(is_cut.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, after)
        row = (seen, action, log_prob(action, mean, params["log_std"]), value, next_value)
        seen = jax.lax.cond(is_cut.any(), lambda: act(go_on), lambda: next_seen)
        return (go_on, seen), (*row, task.terms.reward_scale * growth, is_cut)

    (accounts, _), rows = jax.lax.scan(one, (accounts, act(accounts)), jax.random.split(key, task.rollout_bars))
    return accounts, rows


def advantages(value: Any, next_value: Any, reward: Any, is_cut: Any, task: Task) -> Any:
    delta = reward + task.discount * next_value - value

    def back(following: Any, row: Any) -> Any:
        following = row[0] + jnp.where(row[1], 0.0, task.discount * task.gae_lambda) * following
        return following, following

    return jax.lax.scan(back, jnp.zeros(value.shape[1]), (delta, is_cut), reverse=True)[1]


def update(carry: Any, market: Market, task: Task, train: tuple[int, int]) -> Any:
    """Return parameters, moments, accounts and key after one rollout and all epochs over it."""
    params, moments, accounts, key = carry
    key, roll_key, shuffle_key = jax.random.split(key, 3)
    accounts, (seen, action, old, value, next_value, reward, is_cut) = rollout(
        params, accounts, roll_key, market, task, train
    )
    advantage = advantages(value, next_value, reward, is_cut, task)
    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (seen, action, old, advantage, advantage + value))
    n = task.n_envs * task.rollout_bars

    def batch(state: Any, index: Any) -> Any:
        gradient = jax.grad(loss)(state[0], jax.tree.map(lambda x: x[index], rows), task)
        return adam(*state, gradient, task), None

    def epoch(state: Any, key: Any) -> Any:
        return jax.lax.scan(batch, state, jax.random.permutation(key, n).reshape(-1, task.batch_size))

    (params, moments), _ = jax.lax.scan(epoch, (params, moments), jax.random.split(shuffle_key, task.epochs))
    return params, moments, accounts, key


def require_equal_growth(bars: Bars, terms: Terms) -> None:
    """Raise AssertionError unless random actions earn here what they earn in `market_env`."""
    rng, n_assets = np.random.default_rng(1), bars.close_usd.shape[1]
    peer, account = Accounts(1, n_assets, terms), fresh(jax.random.key(0), n_assets, bars.train, terms)
    step = jax.jit(partial(trade, terms=terms))
    for t in range(64):
        action = rng.uniform(-0.5, 1.0, n_assets).astype(np.float32)
        prices = bars.close_usd[t], bars.open_usd[t + 1], bars.close_usd[t + 1]
        account, growth = step(account, action, *prices)
        expected = peer.trade(action[None].astype(np.float64), *(price[None] for price in prices))[0]
        assert abs(float(growth) - expected) < 1e-5, (t, float(growth), expected)


def main() -> None:
    task = Task.read()
    bars = Bars.load(task.market)
    require_equal_growth(bars, task.terms)
    diary = Diary(task)
    arrays = (bars.features, bars.open_usd, bars.close_usd)
    market = Market(*(jnp.asarray(array, dtype=jnp.float32) for array in arrays))
    n_assets, n_seen = bars.close_usd.shape[1], task.env(1, 0).n_seen
    actor_key, critic_key, place_key, key = jax.random.split(jax.random.key(task.seed), 4)
    hidden = [task.width, task.width]
    actor = network(actor_key, [n_seen, *hidden, n_assets], 0.01)
    actor[-1]["b"] += task.first_action
    critic, log_std = network(critic_key, [n_seen, *hidden, 1], 1.0), jnp.full(n_assets, task.log_std)
    params = {"actor": actor, "critic": critic, "log_std": log_std}
    moments = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params))
    places = jax.random.split(place_key, task.n_envs)
    accounts = jax.vmap(lambda k: fresh(k, n_assets, bars.train, task.terms))(places)
    compiled = jax.jit(partial(update, task=task, train=bars.train), donate_argnums=0)
    # A number of weak type at first and of a strong one later would compile the program twice.
    carry = jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), (params, moments, accounts))
    carry, forward = (*carry, key), jax.jit(apply)
    for n in range(task.n_updates):
        carry = jax.block_until_ready(compiled(carry, market))
        policy = carry[0]["actor"]
        diary.updated((n + 1) * task.n_envs * task.rollout_bars, lambda seen, p=policy: np.asarray(forward(p, seen)))
    diary.write()


if __name__ == "__main__":
    main()
