/*
description: >
  Each ensemble beside its members, on the same bars. The fair rival is the first member, whom one would have chosen before
  these bars; the best member is known only afterwards, and beats most ensembles by luck alone.
grain: one row per ensemble
columns:
  study: Study of the ensemble.
  trial: Number of the kind of vote.
  vote: Kind of vote.
  is_better: Whether it entered as a candidate.
  n_members: Models that vote.
  from_utc: First decision.
  to_utc: End of the bars.
  score: Annualised Sharpe ratio of the ensemble.
  first_member: The member with the best walk-forward score, chosen before these bars.
  first_score: Its Sharpe ratio on them.
  best_member: The member that did best on these bars, known afterwards.
  best_score: Its Sharpe ratio on them.
  median_score: Middle Sharpe ratio of the members.
  beats_frac: Share of the members that the ensemble beats.
  equal_weight_score: Sharpe ratio of equal-weight buy-and-hold on the same bars.
  total_return_frac: Return of the ensemble.
  first_return_frac: Return of the first member.
tests:
  - unique: [study, trial]
examples:
  - name: two members, one ensemble between them
    given:
      lab.ensembles:
        - {study: e, trial: 0, vote: mean, n_members: 2, score: 1.0, is_better: true}
      lab.ensemble_scores:
        - {study: e, subject: mean, role: ensemble, trial: 0, sharpe_annualized: 1.0, total_return_frac: 0.1}
        - {study: e, subject: s/4, role: member, rank: 1, sharpe_annualized: 0.5, total_return_frac: 0.05}
        - {study: e, subject: s/2, role: member, rank: 2, sharpe_annualized: 2.0, total_return_frac: 0.3}
        - {study: e, subject: o/0, role: previous, sharpe_annualized: 9.0, total_return_frac: 0.9}
      lab.evaluations:
        - {study: e, trial: -1, subject: equal_weight, scope: validation, sharpe_annualized: 0.25}
        - {study: e, trial: -1, subject: cash, scope: validation, sharpe_annualized: 0.0}
    expect:
      - {study: e, trial: 0, vote: mean, score: 1.0, first_member: s/4, first_score: 0.5, best_member: s/2, best_score: 2.0, median_score: 1.25, beats_frac: 0.5, equal_weight_score: 0.25, total_return_frac: 0.1, first_return_frac: 0.05}
*/
with singles as (
    select
        study,
        arg_min(subject, rank) as first_member,
        arg_min(sharpe_annualized, rank) as first_score,
        arg_min(total_return_frac, rank) as first_return_frac,
        arg_max(subject, sharpe_annualized) as best_member,
        max(sharpe_annualized) as best_score,
        median(sharpe_annualized) as median_score,
        list(sharpe_annualized) as scores
    from lab.ensemble_scores
    where role = 'member'
    group by study
),

held as (
    select study, any_value(sharpe_annualized) as equal_weight_score
    from lab.evaluations
    where subject = 'equal_weight' and scope = 'validation'
    group by study
),

measured as (
    select study, trial, total_return_frac
    from lab.ensemble_scores
    where role = 'ensemble'
)

select
    lab.ensembles.study,
    lab.ensembles.trial,
    lab.ensembles.vote,
    lab.ensembles.is_better,
    lab.ensembles.n_members,
    lab.ensembles.from_utc,
    lab.ensembles.to_utc,
    lab.ensembles.score,
    singles.first_member,
    singles.first_score,
    singles.best_member,
    singles.best_score,
    singles.median_score,
    len(list_filter(singles.scores, lambda one: one < lab.ensembles.score)) / len(singles.scores) as beats_frac,
    held.equal_weight_score,
    measured.total_return_frac,
    singles.first_return_frac
from lab.ensembles
inner join singles using (study)
inner join measured
    on measured.study = lab.ensembles.study
    and measured.trial = lab.ensembles.trial
left join held on held.study = lab.ensembles.study
order by lab.ensembles.study desc, lab.ensembles.trial
