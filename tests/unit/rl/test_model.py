"""The network: shapes, sharing, and equal seeds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cappuccino.rl.model import Policy, PolicyShape
from cappuccino.rl.view import View

SHAPE = PolicyShape(n_assets=3, lookback=5, n_features=4, n_account_symbol=2, n_account_global=6, width=16, depth=2)


def policy(seed: int = 1, shape: PolicyShape = SHAPE) -> Policy:
    return Policy(shape, torch.Generator().manual_seed(seed))


def seen(model: Policy, n_bars: int) -> torch.Tensor:
    return model.see(torch.randn(n_bars, 3, 5, 4, generator=torch.Generator().manual_seed(0)))


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first, second, other = policy(1).state_dict(), policy(1).state_dict(), policy(2).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["context.weight"], other["context.weight"])


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("account_depth", [0, 1, 2])
@pytest.mark.parametrize("view", ["every_bar", "dyadic"])
def test_shapes_come_out_as_promised(depth: int, account_depth: int, view: View) -> None:
    model = policy(shape=replace(SHAPE, depth=depth, account_depth=account_depth, view=view))
    output = model.act(model.encode_market(seen(model, 7)), torch.zeros(7, 2, SHAPE.n_account))
    action = output.explore(torch.ones(7, 2, 3))
    assert output.mean.shape == action.shape == (7, 2, 3)
    assert output.value.shape == output.log_prob(action).shape == (7, 2)
    assert output.log_std.shape == (3,)


def test_an_untrained_policy_asks_for_modest_weights() -> None:
    model = policy()
    output = model.act(model.encode_market(seen(model, 50)), torch.zeros(50, 1, SHAPE.n_account))
    assert 0.0 < output.mean.min() < output.mean.max() < 0.3


def test_market_code_is_shared_between_accounts_on_a_bar() -> None:
    """Accounts that share a bar's code get what each would get alone."""
    model = policy()
    account = torch.randn(2, 4, SHAPE.n_account, generator=torch.Generator().manual_seed(3))
    code = model.encode_market(seen(model, 2))
    together = model.act(code, account).mean
    for bar in range(2):
        for n in range(4):
            alone = model.act(code[[bar]], account[bar, n][None, None]).mean[0, 0]
            torch.testing.assert_close(together[bar, n], alone)
    assert together.std(dim=1).min() > 0  # and the account matters


def test_an_account_feature_of_one_symbol_moves_only_that_symbol() -> None:
    model = policy()
    account = torch.zeros(1, 1, SHAPE.n_account)
    code = model.encode_market(seen(model, 1))
    moved = account.clone()
    moved[0, 0, 2] = 3.0  # first feature of the second symbol
    difference = (model.act(code, moved).mean - model.act(code, account).mean)[0, 0]
    assert difference[1] != 0
    assert difference[[0, 2]].tolist() == [0.0, 0.0]


def test_windows_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        policy().see(torch.zeros(2, 3, 6, 4))


@pytest.mark.parametrize("account_depth", [0, 2])
def test_half_the_bits_say_nearly_the_same_and_weights_stay_whole(account_depth: int) -> None:
    """bfloat16 products round to three digits; masters, means and values are float32."""
    shape = replace(SHAPE, account_depth=account_depth)
    whole, half = policy(shape=shape), Policy(shape, torch.Generator().manual_seed(1), torch.bfloat16)
    account = torch.randn(7, 4, shape.n_account, generator=torch.Generator().manual_seed(3))
    exact = whole.act(whole.encode_market(seen(whole, 7)), account)
    rounded = half.act(half.encode_market(seen(half, 7)), account)
    assert {p.dtype for p in half.parameters()} == {rounded.mean.dtype} == {rounded.value.dtype} == {torch.float32}
    assert not torch.equal(exact.mean, rounded.mean)
    torch.testing.assert_close(rounded.mean, exact.mean, atol=0.01, rtol=0)
    torch.testing.assert_close(rounded.value, exact.value, atol=0.05, rtol=0)


def test_the_parts_of_an_answer_can_be_asked_for_alone() -> None:
    model = policy(shape=replace(SHAPE, account_depth=1))
    code = model.encode_market(seen(model, 7))
    account = torch.randn(7, 2, SHAPE.n_account, generator=torch.Generator().manual_seed(3))
    output = model.act(code, account)
    assert torch.equal(output.mean, model.steer(code, account))
    assert torch.equal(output.value, model.judge(code, account))
