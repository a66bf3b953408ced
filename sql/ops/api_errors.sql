/*
description: >
  How the calls to venues went, failed ones and good ones, so that error rates can be read off: sum `calls` by outcome.
  A sync writes after every piece that it has asked for, so one sync has several rows of the same outcome.
grain: one row per piece of a sync, endpoint and outcome
columns:
  synced_at_utc: Clock time of the sync.
  source: Venue that was asked, alpaca or coinbase.
  endpoint: What was asked for, bars, books or symbols.
  outcome: >
    ok; tried again are rate_limited, server_error, timed_out, connection and broken_answer; not tried again is refused
    (the question is wrong). breaker_open was not even asked, because the venue had failed too often in a row. bad_bar
    counts bars that cannot be true and were left out; each is a hole now.
  calls: Tries with that outcome; for bad_bar the bars.
  share_frac: Their share of the tries of the endpoint in that piece; for bad_bar of the bars that came.
  waited_s: Seconds of pauses that followed them, before the next try.
  example: First 300 characters of the last message, for bad_bar with symbol, time, column and value; empty for ok.
tests:
  - not_null: [synced_at_utc, source, endpoint, outcome, calls, share_frac, waited_s, example]
  - accepted: {outcome: [ok, rate_limited, server_error, timed_out, connection, broken_answer, refused, breaker_open, bad_bar]}
  - accepted: {endpoint: [bars, books, symbols]}
  - positive: [calls, share_frac]
  - expression: share_frac <= 1 and waited_s >= 0 and length(example) <= 300
  - expression: (outcome = 'ok') = (example = '')
*/
create table ops.api_errors (
    synced_at_utc timestamp not null,
    source varchar not null,
    endpoint varchar not null,
    outcome varchar not null,
    calls bigint not null,
    share_frac double not null,
    waited_s double not null,
    example varchar not null
);
