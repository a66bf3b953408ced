/*
description: The windows of each match, bars that neither agent trained on.
grain: one row per match and window
columns:
  match_id: The match.
  sequence: Order of the match.
  champion: Model that stood in the arena.
  challenger: Model that entered.
  window_number: Number of the window, from 1.
  from_utc: First decision of the window.
  to_utc: End of the window.
  champion_score: What the champion scored.
  challenger_score: What the challenger scored.
tests:
  - unique: [match_id, window_number]
  - expression: from_utc < to_utc
*/
with unnested as (
    select
        match_id,
        sequence,
        champion,
        challenger,
        unnest(
            from_json(
                windows,
                '[{"start_utc": "TIMESTAMPTZ", "stop_utc": "TIMESTAMPTZ", "champion_score": "DOUBLE", "challenger_score": "DOUBLE"}]'
            )
        ) as played,
        generate_subscripts(from_json(windows, '["JSON"]'), 1) as window_number
    from arena.matches
)

select
    match_id,
    sequence,
    champion,
    challenger,
    window_number,
    played.start_utc at time zone 'UTC' as from_utc,
    played.stop_utc at time zone 'UTC' as to_utc,
    played.champion_score as champion_score,
    played.challenger_score as challenger_score
from unnested
order by sequence, window_number
