/*
description: Which bars the features that are stored were made from; ops.data_seen says whether they are still the same.
grain: one row per interval
columns:
  interval: Length of the bars.
  symbols: Traded pairs.
  features: Names of the columns that were made.
  from_utc: Open of the first bar that was used.
  to_utc: Close of the last bar that was used.
  bars_fingerprint: Fingerprint of the base bars that opened between them.
  built_at_utc: Clock time of the build.
  max_input_age_hours: Oldest that inputs beside bars could be; empty without such inputs.
tests:
  - unique: [interval]
  - expression: from_utc < to_utc
*/
create table features.builds (
    interval varchar primary key,
    symbols varchar[] not null,
    features varchar[] not null,
    from_utc timestamp not null,
    to_utc timestamp not null,
    bars_fingerprint varchar not null,
    built_at_utc timestamp not null,
    max_input_age_hours double
);
