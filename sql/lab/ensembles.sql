/*
description: >
  Every ensemble that was built, and whether it took the place of the one before: it enters as a candidate only when it is
  better than the newest of its kind on the same bars, which no member of either trained on. The first of a kind enters.
grain: one row per ensemble
columns:
  study: Study of the ensemble, named after its members.
  trial: Number of the kind of vote, 0 to 3.
  vote: mean, median, score (weighted by walk-forward score) or adaptive (weighted by recent reward, the worst left out).
  n_members: Models that vote.
  score: Annualised Sharpe ratio on the bars below, after costs.
  previous: STUDY/TRIAL of the newest ensemble of this kind that had entered before; empty for the first.
  previous_score: Its score on the same bars; empty when it cannot be loaded any more.
  is_better: Whether this one entered as a candidate.
  reason: Why, or why not.
  from_utc: First decision of the bars that they were compared on.
  to_utc: End of those bars.
  built_at_utc: Clock time of the building.
tests:
  - unique: [study, trial]
  - accepted: {vote: [mean, median, score, adaptive]}
  - expression: n_members >= 2
  - expression: previous is not null or is_better
*/
create table lab.ensembles (
    study varchar not null,
    trial bigint not null,
    vote varchar not null,
    n_members bigint not null,
    score double not null,
    previous varchar,
    previous_score double,
    is_better boolean not null,
    reason varchar not null,
    from_utc timestamp not null,
    to_utc timestamp not null,
    built_at_utc timestamp not null,
    primary key (study, trial)
);
