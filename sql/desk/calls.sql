/*
description: >
  How the trader's calls to venues went, counted: sum `calls` by outcome.
grain: one row per time of counting, endpoint and outcome
columns:
  at_utc: When they were counted.
  source: Venue that was called.
  endpoint: What was asked for or sent.
  outcome: ok, or how it failed.
  calls: Tries with that outcome.
  share_frac: Their share of the endpoint's tries since the time before.
  waited_s: Seconds of pauses that followed them.
  example: The last message; empty for ok.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - positive: [calls]
*/
create table desk.calls (
    at_utc timestamp not null,
    source varchar not null,
    endpoint varchar not null,
    outcome varchar not null,
    calls bigint not null,
    share_frac double not null,
    waited_s double not null,
    example varchar not null,
    version bigint not null
);
