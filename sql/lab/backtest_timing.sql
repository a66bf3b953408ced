/*
description: >
  A backtest's subject beside accounts that did the same at another time (random_timing: all symbols shifted together),
  with their holds and gaps in another order (entry_permutation) or in other symbols (symbol_permutation), through the
  same engine at the same costs. Who was merely there does no better than they do.
grain: one row per backtest and way
columns:
  backtest: Name of the backtest.
  way: random_timing, entry_permutation or symbol_permutation.
  n_others: Accounts beside the subject.
  p_sharpe: Share of them, the subject included, with at least its Sharpe ratio.
  p_return: Share of them, the subject included, with at least its total return.
  sharpe_annualized: Sharpe ratio of the subject, from per-bar returns.
  others_sharpe_annualized: Median of the others'; empty without any.
  total_return_frac: Return of the subject.
  others_return_frac: Median of the others'.
  others_low_return_frac: What 5 % of the others fell short of.
  others_high_return_frac: What 5 % of the others exceeded.
tests:
  - unique: [backtest, way]
  - accepted: {way: [random_timing, entry_permutation, symbol_permutation]}
  - expression: p_sharpe > 0 and p_sharpe <= 1 and p_return > 0 and p_return <= 1
*/
create table lab.backtest_timing (
    backtest varchar not null,
    way varchar not null,
    n_others bigint not null,
    p_sharpe double not null,
    p_return double not null,
    sharpe_annualized double not null,
    others_sharpe_annualized double,
    total_return_frac double not null,
    others_return_frac double,
    others_low_return_frac double,
    others_high_return_frac double,
    primary key (backtest, way)
);
