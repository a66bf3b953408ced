/*
description: >
  Did the best models of a study choose when and what to buy, or were they only there? Each beside accounts that did the
  same at other times and in other symbols, on bars that nobody chose them by.
grain: one row per study, trial and scope
columns:
  study: Study of the model.
  trial: Trial of the model.
  scope: arena or holdout.
  sharpe_annualized: Sharpe ratio of the model, from per-bar returns.
  n_permutations: Accounts that it is compared with, of each kind.
  p_random_timing: >
    Share of accounts with the same exposure at shifted times that had at least its Sharpe, itself included: about one half
    for who is only long, small for who knows when.
  random_timing_sharpe_annualized: Median Sharpe of those accounts; empty when the range is too short to shift.
  p_entry_permutation: The same with holds and gaps of each symbol in another order.
  entry_permutation_sharpe_annualized: Median Sharpe of those accounts.
  p_symbol_permutation: The same with the symbols exchanged.
  symbol_permutation_sharpe_annualized: Median Sharpe of those accounts; empty with one symbol.
  beta: Of its daily returns to those of equal-weight buy-and-hold.
  alpha_per_day_frac: Return a day that the market does not explain.
  alpha_t: Its Newey-West t-value.
  timing_gamma: Treynor and Mazuy's coefficient of the squared market return; above 0 when it was longer in rising markets.
  timing_t: Its Newey-West t-value.
tests:
  - unique: [study, trial, scope]
  - accepted: {scope: [arena, holdout]}
  - expression: p_random_timing > 0 and p_random_timing <= 1
*/
create table lab.skill (
    study varchar not null,
    trial bigint not null,
    scope varchar not null,
    sharpe_annualized double not null,
    n_permutations bigint not null,
    p_random_timing double not null,
    random_timing_sharpe_annualized double,
    p_entry_permutation double not null,
    entry_permutation_sharpe_annualized double,
    p_symbol_permutation double not null,
    symbol_permutation_sharpe_annualized double,
    beta double not null,
    alpha_per_day_frac double not null,
    alpha_t double not null,
    timing_gamma double not null,
    timing_t double not null,
    primary key (study, trial, scope)
);
