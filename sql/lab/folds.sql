/*
description: >
  What every fold of a study trained on and was judged on. Segments of one part are no neighbours: accounts never cross
  the end of one.
grain: one row per study, interval, lookback, fold, part and segment
columns:
  study: The study.
  interval: Bar interval.
  lookback: Bars that an agent sees.
  fold: Number of the fold, from 0.
  part: train or validation.
  segment: Number of the stretch of bars, from 0.
  from_utc: Open of its first bar.
  to_utc: Close of its last bar.
  n_bars: Its bars.
  purge_bars: Bars between training and a validation after it, the lookback and the holding time.
  after_bars: Bars between a validation and training after it, the lookback and the embargo; 0 when none follows.
tests:
  - unique: [study, interval, lookback, fold, part, segment]
  - accepted: {part: [train, validation]}
  - expression: n_bars > 0
*/
create table lab.folds (
    study varchar not null,
    interval varchar not null,
    lookback bigint not null,
    fold bigint not null,
    part varchar not null,
    segment bigint not null,
    from_utc timestamp not null,
    to_utc timestamp not null,
    n_bars bigint not null,
    purge_bars bigint not null,
    after_bars bigint not null,
    primary key (study, interval, lookback, fold, part, segment)
);
