/*
description: Every replay of history, the whole organisation in virtual time; each has a warehouse of its own.
grain: one row per replay
columns:
  replay: Name of the replay; equal settings, bars and code have equal names.
  state: running (or stopped in the middle; the same command goes on) or complete.
  from_utc: First moment.
  to_utc: Last moment.
  moment_utc: Newest moment that is finished; empty before the first.
  step_hours: Virtual time between two moments.
  retrain_every_days: Age of the training data at which a new study was due.
  source: Where the bars came from.
  is_simulated: Whether the bars are simulated.
  symbols: Traded pairs.
  profile: Profile of the settings.
  code_version: Version of Cappuccino.
  warehouse: Folder of the replay's own warehouse, as the command saw it.
  settings: The configuration, as JSON.
  duration_s: Seconds that the finished moments took, over all restarts.
tests:
  - unique: [replay]
  - accepted: {state: [running, complete]}
*/
create table replay.runs (
    replay varchar primary key,
    state varchar not null,
    from_utc timestamp not null,
    to_utc timestamp not null,
    moment_utc timestamp,
    step_hours double not null,
    retrain_every_days double not null,
    source varchar not null,
    is_simulated boolean not null,
    symbols varchar[] not null,
    profile varchar not null,
    code_version varchar not null,
    warehouse varchar not null,
    settings varchar not null,
    duration_s double not null
);
