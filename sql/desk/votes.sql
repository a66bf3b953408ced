/*
description: What each member of an ensemble voted on every bar that the ensemble traded on paper, and what its vote counted.
grain: one row per ensemble, bar, symbol and member
columns:
  study: Study of the ensemble.
  trial: Trial of the ensemble.
  closed_at_utc: Close of the bar that was decided on.
  symbol: Traded pair.
  member_study: Study of the member.
  member_trial: Trial of the member.
  vote: Its action in [-1, 1]; 1 asks for the largest weight, 0 or less for none.
  weight: Its share of the vote, all of a bar and symbol add up to 1; of a median, equal shares.
  is_active: False where an adaptive ensemble leaves it out.
tests:
  - unique: [study, trial, closed_at_utc, symbol, member_study, member_trial]
  - expression: vote between -1 and 1
  - expression: weight between 0 and 1
*/
create table desk.votes (
    study varchar not null,
    trial bigint not null,
    closed_at_utc timestamp not null,
    symbol varchar not null,
    member_study varchar not null,
    member_trial bigint not null,
    vote double not null,
    weight double not null,
    is_active boolean not null,
    primary key (study, trial, closed_at_utc, symbol, member_study, member_trial)
);
