/*
description: >
  Everything that the trader decided: at the close of a bar, or between two bars by protection. `state` is the account
  before it, so that every decision can be made again.
grain: one row per decision
columns:
  decision: Key of the decision.
  account: >
    Account of the trader: STUDY/TRIAL of a virtual one, the broker's name of a real one.
  study: Study of the model that traded.
  trial: Trial of the model that traded.
  kind: bar for a decision at a bar's close; between two bars protection, and flatten where everything is sold.
  closed_at_utc: Close of the bar that it rests on; between two bars the moment itself.
  decided_at_utc: Clock time of the decision.
  marks: >
    Prices that were decided on, as JSON {symbol: USD}.
  quotes: >
    Best bid and ask at that moment, as JSON {symbol: [bid, ask]}.
  action: >
    What the model said, as JSON {symbol: number in [-1, 1]}; empty where it was not asked or not noted.
  targets: >
    Weights that the model asked for, as JSON {symbol: weight}; empty where it was not asked.
  wanted: >
    Signed units to trade after all rules, as JSON {symbol: units}, symbols without a trade left out.
  rules: Bit flags of the rules that changed it.
  state: >
    The account before it, as JSON: cash, positions, the state of every rule.
  explanation: >
    What moved the action, as JSON: {action: {symbol: number}, groups: [{group, effect: {symbol: number}}]}, the
    largest effect first; empty where nothing was explained.
  latency_s: Seconds from the bars at hand to the decision.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - unique: [decision]
  - expression: latency_s >= 0
*/
create table desk.decisions (
    decision varchar not null,
    account varchar not null,
    study varchar not null,
    trial bigint not null,
    kind varchar not null,
    closed_at_utc timestamp not null,
    decided_at_utc timestamp not null,
    marks varchar not null,
    quotes varchar not null,
    action varchar,
    targets varchar,
    wanted varchar not null,
    rules bigint not null,
    state varchar not null,
    explanation varchar,
    latency_s double not null,
    version bigint not null,
    primary key (decision)
);
