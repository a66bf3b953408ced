"""ElegantRL's PPO agent on the planted market: its networks, its rollout over a vectorised environment, its update.

Its `repeat_times` counts passes over the bars of ONE environment, so that ten passes over all of them are asked for as
`epochs * n_envs`. Its actions go through tanh, and it has no truncation: a cut episode counts as an end.
"""

from __future__ import annotations

import numpy as np
import torch
from elegantrl.agents.AgentPPO import AgentPPO
from elegantrl.train.config import Config
from market_env import MarketEnv
from task import Diary, Task
from torch import Tensor


class VectorMarket:
    """The market as ElegantRL's `explore_vec_env` wants it: tensors, and ended episodes begin anew."""

    def __init__(self, env: MarketEnv) -> None:
        self.env = env

    def reset(self) -> Tensor:
        return torch.from_numpy(self.env.observe())

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        reward, is_cut = self.env.step(action.detach().numpy())
        if is_cut.any():
            self.env.restart(is_cut)
        return self.reset(), torch.from_numpy(reward).float(), torch.from_numpy(is_cut), None


def config(task: Task, env: MarketEnv) -> Config:
    about = {"env_name": "planted", "num_envs": task.n_envs, "max_step": task.terms.episode_bars}
    shapes = {"state_dim": env.n_seen, "action_dim": env.n_assets, "if_discrete": False}
    args = Config(AgentPPO, VectorMarket, {**about, **shapes})
    args.net_dims, args.gpu_id, args.batch_size = (task.width, task.width), -1, task.batch_size
    args.learning_rate, args.gamma, args.clip_grad_norm = task.learning_rate, task.discount, task.max_grad_norm
    args.repeat_times = float(task.epochs * task.n_envs)
    args.ratio_clip, args.lambda_gae_adv, args.lambda_entropy = task.clip, task.gae_lambda, task.entropy_weight
    return args


def main() -> None:
    task = Task.read()
    torch.set_num_threads(task.n_threads)
    torch.manual_seed(task.seed)
    env = VectorMarket(task.env(task.n_envs, task.seed * 1000))
    args = config(task, env.env)
    agent = AgentPPO(args.net_dims, args.state_dim, args.action_dim, gpu_id=-1, args=args)
    agent.act.action_std_log.data.fill_(task.log_std)
    agent.act.net[-1].bias.data.fill_(np.arctanh(task.first_action))
    agent.last_state = env.reset()
    diary = Diary(task)
    for update in range(task.n_updates):
        with torch.no_grad():
            rollout = agent.explore_env(env, task.rollout_bars)
        agent.update_net(rollout)
        n_steps = (update + 1) * task.n_envs * task.rollout_bars
        diary.updated(n_steps, lambda seen: agent.act(torch.from_numpy(seen)).detach().numpy())
    diary.write()


if __name__ == "__main__":
    main()
