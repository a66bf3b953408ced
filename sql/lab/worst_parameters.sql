/*
description: >
  What the worst tenth of a study's trials have in common: each hyper-parameter's mean there against all other trials
  that were judged, in units of its deviation. Rates and scales that are searched by factors are compared by their
  logarithms, choices by the share of the trials that made them. A sampler seeks what is good, so a large distance says
  where the bad trials lie, not that nothing else is wrong with them.
grain: one row per study and hyper-parameter, or choice of one
columns:
  study: Study.
  parameter: Hyper-parameter; `name=choice` for one that is chosen by name.
  worst_mean: Its mean in the worst tenth, the geometric one where logarithms are compared.
  rest_mean: The same of the rest.
  distance_std: Difference of the two in deviations over all trials; 2 is a lot.
  n_worst: Trials of the worst tenth.
  n_rest: Trials of the rest.
tests:
  - unique: [study, parameter]
examples:
  - given:
      lab.trials:
        - {study: s, trial: 0, state: complete, fold_scores: [0.0], parameters: '{"width": 64, "learner": "ppo", "depth": 1}'}
        - {study: s, trial: 1, state: complete, fold_scores: [0.0], parameters: '{"width": 64, "learner": "ppo", "depth": 1}'}
        - {study: s, trial: 2, state: pruned, fold_scores: [-1.0], parameters: '{"width": 128, "learner": "apg", "depth": 1}'}
      lab.worst_trials:
        - {study: s, trial: 2}
    expect:
      - {study: s, parameter: width, worst_mean: 128.0, rest_mean: 64.0, distance_std: 2.1213203435596424, n_worst: 1, n_rest: 2}
      - {study: s, parameter: learner=apg, worst_mean: 1.0, rest_mean: 0.0, distance_std: 2.1213203435596424, n_worst: 1, n_rest: 2}
      - {study: s, parameter: learner=ppo, worst_mean: 0.0, rest_mean: 1.0, distance_std: -2.1213203435596424, n_worst: 1, n_rest: 2}
  - name: a learning rate of 0.001 lies in the middle between 0.01 and 0.0001
    given:
      lab.trials:
        - {study: s, trial: 0, state: complete, fold_scores: [0.0], parameters: '{"learning_rate": 0.01}'}
        - {study: s, trial: 1, state: complete, fold_scores: [0.0], parameters: '{"learning_rate": 0.0001}'}
        - {study: s, trial: 2, state: pruned, fold_scores: [-1.0], parameters: '{"learning_rate": 0.001}'}
      lab.worst_trials:
        - {study: s, trial: 2}
    expect:
      - {study: s, parameter: learning_rate, worst_mean: 0.001, rest_mean: 0.001, distance_std: 0.0, n_worst: 1, n_rest: 2}
*/
with judged as (
    select
        study,
        trial,
        parameters,
        (study, trial) in (select (study, trial) from lab.worst_trials) as is_worst
    from lab.trials
    where state in ('complete', 'pruned') and len(fold_scores) > 0
),

chosen as (
    select
        study,
        trial,
        is_worst,
        unnest(json_keys(parameters)) as name,
        json_extract_string(parameters, '$.' || unnest(json_keys(parameters))) as choice
    from judged
),

numbers as (
    select
        study,
        trial,
        is_worst,
        name as parameter,
        name in ('learning_rate', 'max_grad_norm', 'entropy_weight', 'reward_scale')
        and try_cast(choice as double) > 0 as is_log,
        if(is_log, ln(try_cast(choice as double)), try_cast(choice as double)) as amount
    from chosen
    where try_cast(choice as double) is not null
),

words as (
    select distinct study, name, choice
    from chosen
    where try_cast(choice as double) is null
),

shares as (
    select
        chosen.study,
        chosen.trial,
        chosen.is_worst,
        words.name || '=' || words.choice as parameter,
        false as is_log,
        if(chosen.choice = words.choice, 1.0, 0.0) as amount
    from chosen
    inner join words on chosen.study = words.study and chosen.name = words.name
),

compared as (
    select
        study,
        parameter,
        bool_or(is_log) as is_log,
        avg(amount) filter (where is_worst) as worst_mean,
        avg(amount) filter (where not is_worst) as rest_mean,
        stddev_pop(amount) as deviation,
        count(*) filter (where is_worst) as n_worst,
        count(*) filter (where not is_worst) as n_rest
    from (select * from numbers union all select * from shares) as amounts
    group by study, parameter
)

select
    study,
    parameter,
    if(is_log, exp(worst_mean), worst_mean) as worst_mean,
    if(is_log, exp(rest_mean), rest_mean) as rest_mean,
    (compared.worst_mean - compared.rest_mean) / deviation as distance_std,
    n_worst,
    n_rest
from compared
where deviation > 1e-12 and n_worst > 0 and n_rest > 0
order by study desc, abs(distance_std) desc, parameter
