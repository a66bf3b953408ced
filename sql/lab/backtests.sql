/*
description: >
  Every backtest: one subject over one range of history through the traders' engine. Running it again replaces it. Its
  figures stand in lab.backtest_measures.
grain: one row per backtest
columns:
  backtest: Name; the same for the same subject, range and settings.
  subject: STUDY/TRIAL, or the name of a baseline.
  study: Study of the model; empty for a baseline.
  trial: Trial of the model.
  interval: Bar interval.
  symbols: Traded pairs.
  from_utc: When the account was opened, the close of the first decision.
  to_utc: Close of the last bar.
  is_simulated: Whether the bars are simulated.
  cash_usd: Opening value.
  trained_from_utc: First bar that the model was trained on; empty for a baseline.
  trained_until_utc: End of the bars that the model was trained on.
  in_sample_frac: >
    Share of the range that the model was trained on. What is above 0 is no evidence of anything.
  n_trades: Round trips, those that are open at the end included.
  n_fills: Fills.
  beta: Of daily returns to equal-weight buy-and-hold.
  alpha_per_day_frac: Daily return that the market does not explain (Jensen).
  alpha_t: Its t-value after Newey and West.
  timing_gamma: Exposure gained when the market moved up (Treynor and Mazuy).
  timing_t: Its t-value after Newey and West.
  r_squared: Share of the variance of daily returns that the market explains.
  n_days: Whole days in the regression; 0 stands in all of its figures when they are too few.
  seed: Seed of the permutations and of random entry.
  settings: Costs, risk rules and account, as JSON.
  bars_fingerprint: Hash of every bar in use.
  code_version: Version of Cappuccino.
  made_at_utc: The present when it was run.
tests:
  - unique: [backtest]
  - expression: in_sample_frac between 0 and 1
  - expression: from_utc < to_utc
*/
create table lab.backtests (
    backtest varchar primary key,
    subject varchar not null,
    study varchar,
    trial bigint,
    interval varchar not null,
    symbols varchar[] not null,
    from_utc timestamp not null,
    to_utc timestamp not null,
    is_simulated boolean not null,
    cash_usd double not null,
    trained_from_utc timestamp,
    trained_until_utc timestamp,
    in_sample_frac double not null,
    n_trades bigint not null,
    n_fills bigint not null,
    beta double not null,
    alpha_per_day_frac double not null,
    alpha_t double not null,
    timing_gamma double not null,
    timing_t double not null,
    r_squared double not null,
    n_days bigint not null,
    seed bigint not null,
    settings varchar not null,
    bars_fingerprint varchar not null,
    code_version varchar not null,
    made_at_utc timestamp not null
);
