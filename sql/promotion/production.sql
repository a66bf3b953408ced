/*
description: The model in production, with what it is made of; empty until one got there.
grain: one row, or none
columns:
  study: Study of the model.
  trial: Trial of the model.
  since_utc: When it came to production.
  reason: Why it is there.
  interval: Bar interval it trades.
  lookback: Bars that it sees.
  symbols: Pairs that it trades.
  is_simulated: Whether it was trained on simulated bars.
  artifact: Folder of the model below the artifacts folder.
  weight_sha256: Hash of its weights file.
*/
with stages as (
    select * from promotion.stages where stage = 'production'
)

select
    stages.study,
    stages.trial,
    stages.since_utc,
    stages.reason,
    lab.trials.interval,
    lab.trials.lookback,
    lab.studies.symbols,
    lab.studies.is_simulated,
    lab.trials.artifact,
    lab.trials.weight_sha256
from stages
inner join lab.trials using (study, trial)
inner join lab.studies using (study)
