/*
description: >
  What the conviction filter thought of every purchase that was wanted: its score and the factors it is made of.
grain: one row per decision and symbol
columns:
  decision: Key of the decision, see desk.decisions.
  symbol: Pair that was to be bought.
  score: Weighted sum of the factors; an entry below the threshold is dropped.
  size: Factor of the position's size.
  momentum: Factor of the Sharpe momentum.
  agreement: Factor of the ensemble's agreement.
  volatility: Factor of the volatility regime.
  context: Factor of the portfolio's context.
  passed: Whether the entry was let through.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - unique: [decision, symbol]
*/
create table desk.conviction (
    decision varchar not null,
    symbol varchar not null,
    score double not null,
    size double not null,
    momentum double not null,
    agreement double not null,
    volatility double not null,
    context double not null,
    passed boolean not null,
    version bigint not null,
    primary key (decision, symbol)
);
