"""The network: a market tower that is run once per bar, and heads that add one account to it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from cappuccino.rl.losses import gaussian_log_prob
from cappuccino.rl.view import View, n_rows, see

CODE = 32
"""Numbers that the encoder keeps of one symbol's window."""
ACTOR = 32
CRITIC = 64
INITIAL_ACTION = 0.25
"""Mean action of an untrained policy: modest weights, neither none (no gradient below 0) nor the most."""
INITIAL_LOG_STD = -1.2
INPUT_GAIN = 0.3
"""Small: an encoder that starts by reacting to all of hundreds of inputs remembers noise, not patterns."""
MIN_LOG_STD, MAX_LOG_STD = -3.0, 0.0


@dataclass(frozen=True)
class PolicyShape:
    """Everything that decides the network's parameter shapes."""

    n_assets: int
    lookback: int
    n_features: int
    n_account_symbol: int
    """Account features of each symbol."""
    n_account_global: int
    """Account features of the portfolio."""
    width: int
    depth: int
    view: View = "every_bar"
    """What is seen of a window."""
    account_depth: int = 0
    """Layers of `width` in which market and account meet; 0 = in one narrow layer of each head."""

    @property
    def n_account(self) -> int:
        return self.n_assets * self.n_account_symbol + self.n_account_global

    @property
    def n_seen(self) -> int:
        """Numbers seen of one symbol's window."""
        return n_rows(self.view, self.lookback) * self.n_features


@dataclass(frozen=True)
class Output:
    """What the policy says: action mean (B, M, A), log_std (A,) and value (B, M)."""

    mean: Tensor
    log_std: Tensor
    value: Tensor

    def explore(self, noise: Tensor) -> Tensor:
        """Return the action that standard normal `noise` leads to, (B, M, A), not yet clipped to [-1, 1]."""
        return self.mean + torch.exp(self.log_std) * noise

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log density (B, M) of the unclipped action."""
        return gaussian_log_prob(action, self.mean, self.log_std)


class Policy(nn.Module):
    """Actor and critic of A symbols; equal (shape, generator state) give equal weights.

    Symbols share the encoder and the actor's head, so that what is learned on one serves all; a context of
    all symbols and a bias per symbol let it tell them apart. Weights are float32; `products` is the type that
    the large layers multiply in, and never changes what is stored.
    """

    def __init__(self, shape: PolicyShape, generator: Generator, products: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.shape, self.products = shape, products
        sizes = [shape.n_seen] + [shape.width] * shape.depth
        layers = [_linear(a, b, INPUT_GAIN, generator) for a, b in pairwise(sizes)]
        self.encoder = nn.ModuleList([*layers, _linear(shape.width, CODE, 1.0, generator)])
        self.context = _linear(shape.n_assets * CODE, shape.width, 1.0, generator)
        self.actor_code = _linear(CODE, ACTOR, 1.0, generator)
        self.actor_context = _linear(shape.width, ACTOR, 0.5, generator)
        self.actor_symbol = nn.Parameter(torch.zeros(shape.n_assets, ACTOR))
        self.actor_account = _linear(shape.n_account_symbol + shape.n_account_global, ACTOR, 0.5, generator)
        self.actor_out = _linear(ACTOR, 1, 0.01, generator)
        self.critic_context = _linear(shape.width, CRITIC, 1.0, generator)
        self.critic_account = _linear(shape.n_account, CRITIC, 1.0, generator)
        self.critic_out = _linear(CRITIC, 1, 0.1, generator)
        self.raw_log_std = nn.Parameter(torch.full((shape.n_assets,), INITIAL_LOG_STD))
        nn.init.constant_(self.actor_out.bias, INITIAL_ACTION)
        joint = [shape.n_account] + [shape.width] * shape.account_depth
        self.joint = nn.ModuleList(_linear(a, b, 1.0, generator) for a, b in pairwise(joint))

    def see(self, windows: Tensor) -> Tensor:
        """Return what the encoder reads of each bar, without weights: windows (B, A, L, F) -> (B, A, D)."""
        shape = self.shape
        if windows.shape[1:] != (shape.n_assets, shape.lookback, shape.n_features):
            raise ValueError(f"windows {tuple(windows.shape)} do not fit {shape}")
        return see(windows, shape.view).to(self.products)

    def encode_market(self, seen: Tensor) -> Tensor:
        """Return what the heads need of each bar, float32; what `see` gave (B, A, D) -> (B, H)."""
        code = seen
        for layer in self.encoder:
            code = torch.tanh(self._large(layer, code))
        context = torch.tanh(self._large(self.context, code.flatten(start_dim=1))).float()
        code = code.float()
        if self.joint:
            return torch.cat([(self.actor_code(code) + self.actor_symbol).flatten(start_dim=1), context], dim=1)
        actor = self.actor_code(code) + self.actor_context(context)[:, None] + self.actor_symbol
        return torch.cat([actor.flatten(start_dim=1), self.critic_context(context)], dim=1)

    def act(self, market: Tensor, account: Tensor) -> Output:
        """Return the output for M accounts on each of B bars; market (B, H), account (B, M, K)."""
        met = self._meet(market, account)
        return Output(self._mean(market, account, met), self.log_std, self._value(market, account, met))

    def steer(self, market: Tensor, account: Tensor) -> Tensor:
        """Return only the action mean of `act`."""
        return self._mean(market, account, self._meet(market, account))

    def judge(self, market: Tensor, account: Tensor) -> Tensor:
        """Return only the value of `act`."""
        return self._value(market, account, self._meet(market, account))

    def _mean(self, market: Tensor, account: Tensor, met: Tensor | None) -> Tensor:
        n_assets, n_symbol, kind = self.shape.n_assets, self.shape.n_account_symbol, self.products
        n_bars, n_accounts = account.shape[:2]
        n_own, weight = n_assets * n_symbol, self.actor_account.weight.to(kind)
        account = account.to(kind)
        actor = market[:, : n_assets * ACTOR].to(kind).reshape(n_bars, 1, n_assets, ACTOR)
        own = account[..., :n_own].reshape(n_bars, n_accounts, n_assets, n_symbol) @ weight[:, :n_symbol].T
        common = account[..., n_own:] @ weight[:, n_symbol:].T + self.actor_account.bias.to(kind)
        if met is not None:
            common = common + self._large(self.actor_context, met)
        hidden = torch.relu(actor + own + common.unsqueeze(2))
        return self._large(self.actor_out, hidden).squeeze(-1).float()

    def _value(self, market: Tensor, account: Tensor, met: Tensor | None) -> Tensor:
        if met is None:
            context = market[:, None, self.shape.n_assets * ACTOR :]
        else:
            context = self._large(self.critic_context, met).float()
        value: Tensor = self.critic_out(torch.relu(context + self.critic_account(account))).squeeze(-1)
        return value

    def _meet(self, market: Tensor, account: Tensor) -> Tensor | None:
        """Return the last joint layer (B, M, width) of each bar's context and its accounts; None without one."""
        if not self.joint:
            return None
        first, *others = self.joint
        context = market[:, None, self.shape.n_assets * ACTOR :].to(self.products)
        met = torch.tanh(context + self._large(first, account))
        for layer in others:
            met = torch.tanh(self._large(layer, met))
        return met

    def _large(self, layer: nn.Module, inputs: Tensor) -> Tensor:
        """Apply a linear layer in the type of the large products."""
        assert isinstance(layer, nn.Linear)
        kind = self.products
        return nn.functional.linear(inputs.to(kind), layer.weight.to(kind), layer.bias.to(kind))

    @property
    def log_std(self) -> Tensor:
        """(A,) log standard deviation of exploration, inside its bounds."""
        return self.raw_log_std.clamp(MIN_LOG_STD, MAX_LOG_STD)


def _linear(n_in: int, n_out: int, gain: float, generator: Generator) -> nn.Linear:
    """Return an orthogonal layer with zero bias, drawn from `generator` and not from torch's global one."""
    layer = nn.Linear(n_in, n_out, device="meta").to_empty(device="cpu")
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
