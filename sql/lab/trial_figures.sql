/*
description: >
  How each trial learned, in one row: means over the last quarter of the updates of its trainings, the last update, and
  flags for what usually goes wrong. `select * from lab.trial_figures where 'blind_critic' in flags` finds the trials
  with one of them, `select flag, count(*) from (select unnest(flags) as flag from lab.trial_figures) group by flag`
  counts them.
grain: one row per study and trial with at least one update
columns:
  study: Study of the trial.
  trial: Number of the trial.
  state: State of the trial.
  score: Score of the trial.
  collapsed: How its policies collapsed on validation bars (lab.trials).
  flags: >
    In the last quarter: blind_critic (explained_variance at most 0), saturated (half of the actions at the end of their
    range), still (an action that hardly moves), idle (hardly anything invested), wild_gradient (five times as long as
    in the first quarter), losing (the reward fell below that of the first quarter).
  n_trainings: Trainings that began.
  n_updates: Updates of all its trainings.
  n_env_steps: Environment steps of all its trainings.
  steps_per_s: Environment steps a second, while it trained.
  first_reward_mean: Mean reward of the first quarter.
  reward_mean: Mean reward of the last quarter, as are all figures below but those of the last update.
  gain: Part of the reward for the log return.
  turnover_cost: Part of the reward charged for trading.
  variance: Part of the reward charged for squared log returns.
  entropy: Entropy of the policy, in nats.
  kl: Distance of the new policy from the one that acted, in nats.
  clip_frac: Share of transitions that PPO's clip held back.
  explained_variance: Share of the variance of the returns that the critic foresaw.
  grad_norm: Length of the gradient before it is cut.
  exposure_frac: Mean share of the value that is not cash.
  turnover_frac: Traded value over account value, per bar.
  saturation_frac: Share of actions at or beyond the end of their range.
  action_spread: Deviation over bars of the mean action, on training bars.
  last_training: Training of the last update.
  last_update: Number of the last update.
  last_reward_mean: Mean reward of the last update.
  last_entropy: Entropy after the last update, in nats.
  last_explained_variance: Share of the variance that the critic foresaw in the last update.
tests:
  - unique: [study, trial]
examples:
  - name: quarters are those of each training, and flags tell what went wrong
    given:
      lab.trials:
        - {study: s, trial: 0, state: complete, score: 0.5}
        - {study: s, trial: 1, state: failed, collapsed: constant}
        - {study: s, trial: 2, state: running}
      lab.updates:
        - {study: s, trial: 0, training: fold-0, update: 1, n_env_steps: 10, duration_s: 1, reward_mean: 0.0, gain: 0.0, turnover_cost: 0, variance: 0, entropy: 9, kl: 0.01, clip_frac: 0.1, explained_variance: 0.0, grad_norm: 1.0, exposure_frac: 0.5, turnover_frac: 0.1, saturation_frac: 0.0, action_spread: 0.1}
        - {study: s, trial: 0, training: fold-0, update: 2, n_env_steps: 10, duration_s: 1, reward_mean: 5.0, gain: 5.0, turnover_cost: 0, variance: 0, entropy: 9, kl: 0.01, clip_frac: 0.1, explained_variance: 0.0, grad_norm: 1.0, exposure_frac: 0.5, turnover_frac: 0.1, saturation_frac: 0.0, action_spread: 0.1}
        - {study: s, trial: 0, training: fold-0, update: 3, n_env_steps: 10, duration_s: 1, reward_mean: 5.0, gain: 5.0, turnover_cost: 0, variance: 0, entropy: 9, kl: 0.01, clip_frac: 0.1, explained_variance: 0.0, grad_norm: 1.0, exposure_frac: 0.5, turnover_frac: 0.1, saturation_frac: 0.0, action_spread: 0.1}
        - {study: s, trial: 0, training: fold-0, update: 4, n_env_steps: 10, duration_s: 1, reward_mean: 2.0, gain: 2.0, turnover_cost: 0, variance: 0, entropy: 4, kl: 0.01, clip_frac: 0.1, explained_variance: 0.5, grad_norm: 2.0, exposure_frac: 0.5, turnover_frac: 0.1, saturation_frac: 0.0, action_spread: 0.1}
        - {study: s, trial: 0, training: final, update: 1, n_env_steps: 20, duration_s: 4, reward_mean: 4.0, gain: 4.0, turnover_cost: 0, variance: 0, entropy: 2, kl: 0.01, clip_frac: 0.1, explained_variance: 0.7, grad_norm: 4.0, exposure_frac: 0.5, turnover_frac: 0.1, saturation_frac: 0.0, action_spread: 0.1}
        - {study: s, trial: 1, training: fold-0, update: 1, n_env_steps: 10, duration_s: 1, reward_mean: -1, gain: -1, turnover_cost: 0, variance: 0, entropy: 9, kl: 0, clip_frac: 0, explained_variance: 0.1, grad_norm: 1, exposure_frac: 0.5, turnover_frac: 0.1, saturation_frac: 0.6, action_spread: 0.1}
        - {study: s, trial: 1, training: fold-0, update: 2, n_env_steps: 10, duration_s: 1, reward_mean: -2, gain: -2, turnover_cost: 0, variance: 0, entropy: 9, kl: 0, clip_frac: 0, explained_variance: -0.1, grad_norm: 6, exposure_frac: 0.005, turnover_frac: 0.0, saturation_frac: 0.6, action_spread: 0.01}
    expect:
      - {study: s, trial: 0, state: complete, score: 0.5, flags: [], n_trainings: 2, n_updates: 5, n_env_steps: 60, steps_per_s: 7.5, first_reward_mean: 2.0, reward_mean: 3.0, entropy: 3.0, explained_variance: 0.6, last_training: final, last_update: 1, last_reward_mean: 4.0}
      - {study: s, trial: 1, state: failed, collapsed: constant, flags: [blind_critic, saturated, still, idle, wild_gradient, losing], n_trainings: 1, n_updates: 2, n_env_steps: 20, steps_per_s: 10, first_reward_mean: -1, reward_mean: -2, entropy: 9, explained_variance: -0.1, last_training: fold-0, last_update: 2, last_reward_mean: -2}
*/
with updates as (
    select
        *,
        max(update) over (partition by study, trial, training) as n_in_training,
        -- Folds come in order, and the training on everything after them.
        if(training = 'final', 1e9, try_cast(split_part(training, '-', 2) as double)) as place
    from lab.updates
),

counts as (
    select
        study,
        trial,
        count(distinct training) as n_trainings,
        count(*) as n_updates,
        sum(n_env_steps)::bigint as n_env_steps,
        sum(n_env_steps) / nullif(sum(duration_s), 0) as steps_per_s,
        arg_max(training, (place, update)) as last_training,
        arg_max(update, (place, update)) as last_update,
        arg_max(reward_mean, (place, update)) as last_reward_mean,
        arg_max(entropy, (place, update)) as last_entropy,
        arg_max(explained_variance, (place, update)) as last_explained_variance
    from updates
    group by study, trial
),

first_quarter as (
    select study, trial, avg(reward_mean) as reward_mean, avg(grad_norm) as grad_norm
    from updates
    where update <= ceil(n_in_training / 4)
    group by study, trial
),

last_quarter as (
    select
        study,
        trial,
        avg(reward_mean) as reward_mean,
        avg(gain) as gain,
        avg(turnover_cost) as turnover_cost,
        avg(variance) as variance,
        avg(entropy) as entropy,
        avg(kl) as kl,
        avg(clip_frac) as clip_frac,
        avg(explained_variance) as explained_variance,
        avg(grad_norm) as grad_norm,
        avg(exposure_frac) as exposure_frac,
        avg(turnover_frac) as turnover_frac,
        avg(saturation_frac) as saturation_frac,
        avg(action_spread) as action_spread
    from updates
    where update > n_in_training - ceil(n_in_training / 4)
    group by study, trial
)

select
    study,
    trial,
    lab.trials.state,
    lab.trials.score,
    lab.trials.collapsed,
    list_filter(
        [
            if(last_quarter.explained_variance <= 0, 'blind_critic', null),
            if(last_quarter.saturation_frac >= 0.5, 'saturated', null),
            if(last_quarter.action_spread < 0.02, 'still', null),
            if(last_quarter.exposure_frac < 0.01, 'idle', null),
            if(last_quarter.grad_norm > 5 * first_quarter.grad_norm, 'wild_gradient', null),
            if(last_quarter.reward_mean < first_quarter.reward_mean, 'losing', null)
        ],
        lambda flag: flag is not null
    ) as flags,
    counts.n_trainings,
    counts.n_updates,
    counts.n_env_steps,
    counts.steps_per_s,
    first_quarter.reward_mean as first_reward_mean,
    last_quarter.reward_mean,
    last_quarter.gain,
    last_quarter.turnover_cost,
    last_quarter.variance,
    last_quarter.entropy,
    last_quarter.kl,
    last_quarter.clip_frac,
    last_quarter.explained_variance,
    last_quarter.grad_norm,
    last_quarter.exposure_frac,
    last_quarter.turnover_frac,
    last_quarter.saturation_frac,
    last_quarter.action_spread,
    counts.last_training,
    counts.last_update,
    counts.last_reward_mean,
    counts.last_entropy,
    counts.last_explained_variance
from counts
inner join last_quarter using (study, trial)
inner join first_quarter using (study, trial)
left join lab.trials using (study, trial)
order by study desc, trial
