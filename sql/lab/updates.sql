/*
description: >
  Every update of every training of every trial, pruned and failed trials included: what the learner did and how the
  policy behaved on its training bars. Rows are those of the trial's last process that got as far as an update. See how
  a trial learned with `select update, reward_mean, entropy, kl from lab.updates where study = '...' and trial = 7 and
  training = 'final' order by update`.
grain: one row per study, trial, training and update
columns:
  study: Study of the trial.
  trial: Number of the trial.
  training: fold-0, fold-1 and so on, then final (on everything).
  update: Number of the update within its training, from 1.
  n_env_steps: Environment steps of the update, all accounts together.
  duration_s: Wall time of the update, in seconds.
  steps_per_s: The one over the other; empty when it took no time that could be measured.
  reward_mean: Mean reward per step and account, scaled; the seven parts below add up to it.
  gain: Part for the log return.
  concentration: Part charged for holding few symbols.
  cash_shortfall: Part charged for cash below the reserve.
  turnover_cost: Part charged for trading, beside its real costs.
  time_decay: Part charged for being invested.
  variance: Part charged for squared log returns.
  policy_loss: Loss of the policy.
  value_loss: Loss of the critic.
  entropy: Entropy of the policy, in nats; a fall says that it explores less.
  kl: Distance of the new policy from the one that acted, in nats; 0 for a learner without it.
  clip_frac: Share of transitions that PPO's clip held back; 0 for a learner without it.
  explained_variance: 1 = the critic foresaw all variance of the returns, 0 = none, below 0 worse than their mean.
  grad_norm: Length of the gradient before it is cut.
  n_epochs: Passes over the rollout.
  exposure_frac: Mean share of the value that is not cash.
  turnover_frac: Traded value over account value, per bar.
  saturation_frac: Share of actions at or beyond the end of their range.
  action_spread: Deviation over bars of the mean action, mean over symbols; 0 = the same action on every bar.
tests:
  - unique: [study, trial, training, update]
  - expression: trial >= 0 and update >= 1
*/
create table lab.updates (
    study varchar not null,
    trial bigint not null,
    training varchar not null,
    update bigint not null,
    n_env_steps bigint not null,
    duration_s double not null,
    steps_per_s double,
    reward_mean double not null,
    gain double not null,
    concentration double not null,
    cash_shortfall double not null,
    turnover_cost double not null,
    time_decay double not null,
    variance double not null,
    policy_loss double not null,
    value_loss double not null,
    entropy double not null,
    kl double not null,
    clip_frac double not null,
    explained_variance double not null,
    grad_norm double not null,
    n_epochs double not null,
    exposure_frac double not null,
    turnover_frac double not null,
    saturation_frac double not null,
    action_spread double not null
);
