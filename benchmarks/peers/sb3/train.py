"""Stable-Baselines3's PPO on the planted market: eight environments in a DummyVecEnv, its own networks and loop."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from market_env import MarketEnv
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv
from task import Diary, Task

EVERY = np.ones(1, dtype=bool)


class OneAccount(gymnasium.Env[Any, Any]):
    """The market with one account."""

    def __init__(self, env: MarketEnv) -> None:
        self.env = env
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (env.n_seen,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (env.n_assets,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.env.restart(EVERY)
        return self.env.observe()[0], {}

    def step(self, action: Any) -> Any:
        reward, is_cut = self.env.step(action[None])
        return self.env.observe()[0], float(reward[0]), False, bool(is_cut[0]), {}


class Watch(BaseCallback):
    """Writes the diary between two updates."""

    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self.diary = diary

    def note(self) -> None:
        n_steps = self.model.num_timesteps
        self.diary.updated(n_steps, lambda seen: self.model.predict(seen, deterministic=True)[0])

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps > 0:
            self.note()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.note()


def main() -> None:
    task = Task.read()
    torch.set_num_threads(task.n_threads)
    envs = DummyVecEnv([lambda n=n: OneAccount(task.env(1, task.seed * 1000 + n)) for n in range(task.n_envs)])
    widths = [task.width, task.width]
    model = PPO(
        "MlpPolicy",
        envs,
        learning_rate=task.learning_rate,
        n_steps=task.rollout_bars,
        batch_size=task.batch_size,
        n_epochs=task.epochs,
        gamma=task.discount,
        gae_lambda=task.gae_lambda,
        clip_range=task.clip,
        ent_coef=task.entropy_weight,
        max_grad_norm=task.max_grad_norm,
        policy_kwargs={"net_arch": {"pi": widths, "vf": widths}, "log_std_init": task.log_std},
        seed=task.seed,
        device="cpu",
    )
    model.policy.action_net.bias.data.fill_(task.first_action)
    diary = Diary(task)
    model.learn(task.n_updates * task.n_envs * task.rollout_bars, callback=Watch(diary))
    diary.write()


if __name__ == "__main__":
    main()
