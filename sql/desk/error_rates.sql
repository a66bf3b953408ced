/*
description: How often the trader's calls to venues failed, by day.
grain: one row per venue, endpoint and UTC day
columns:
  source: Venue.
  endpoint: What was asked for or sent.
  day: UTC day.
  calls: Tries, failed ones and good ones.
  n_failed: Tries that failed.
  failed_frac: Share of the tries that failed.
  waited_s: Seconds of pauses before the next tries.
  outcomes: Failed tries by outcome, the most frequent first; empty when none failed.
  last_example: Newest message of a failure; empty when none failed.
tests:
  - unique: [source, endpoint, day]
  - expression: failed_frac between 0 and 1
examples:
  - name: one of four calls failed, then all of two at another endpoint
    given:
      desk.calls:
        - {at_utc: 2025-01-01 01:00:00, source: alpaca, endpoint: orders, outcome: ok, calls: 3, share_frac: 1, waited_s: 0, example: '', version: 1}
        - {at_utc: 2025-01-01 02:00:00, source: alpaca, endpoint: orders, outcome: timed_out, calls: 1, share_frac: 1, waited_s: 2, example: 'no answer', version: 2}
        - {at_utc: 2025-01-01 02:00:00, source: alpaca, endpoint: quotes, outcome: refused, calls: 2, share_frac: 1, waited_s: 0, example: 'who are you', version: 2}
    expect:
      - {source: alpaca, endpoint: orders, calls: 4, n_failed: 1, failed_frac: 0.25, waited_s: 2, outcomes: 'timed_out 1', last_example: 'no answer'}
      - {source: alpaca, endpoint: quotes, calls: 2, n_failed: 2, failed_frac: 1, waited_s: 0, outcomes: 'refused 2', last_example: 'who are you'}
*/
with by_outcome as (
    select
        source,
        endpoint,
        at_utc::date as day,
        outcome,
        sum(calls)::bigint as calls,
        sum(waited_s) as waited_s,
        max(at_utc) as last_at_utc,
        arg_max(example, at_utc) as example
    from desk.calls
    group by source, endpoint, day, outcome
)

select
    source,
    endpoint,
    day,
    sum(calls)::bigint as calls,
    coalesce(sum(calls) filter (outcome <> 'ok'), 0)::bigint as n_failed,
    coalesce(sum(calls) filter (outcome <> 'ok'), 0) / sum(calls) as failed_frac,
    sum(waited_s) as waited_s,
    coalesce(string_agg(outcome || ' ' || calls, ', ' order by calls desc, outcome) filter (outcome <> 'ok'), '') as outcomes,
    coalesce(arg_max(example, last_at_utc) filter (outcome <> 'ok'), '') as last_example
from by_outcome
group by source, endpoint, day
order by day desc, source, endpoint
