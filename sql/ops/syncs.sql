/*
description: Every piece of history that was asked of a source and stored; what they cover is not asked for again.
grain: one row per question to a source that was answered
columns:
  synced_at_utc: Clock time of the sync.
  source: Source that was asked.
  interval: Interval that was asked for.
  from_utc: First bar open that was asked for.
  to_utc: End of the range, exclusive.
  symbols: Pairs that were asked for.
  bars: Bars that the source has there.
  fingerprint: Hash of those bars.
  record_ends_utc: Where the source's record ends, and with it the present of this warehouse; empty when it goes on.
  new_bars: Bars that were not stored before.
  changed_bars: Stored bars that the source has corrected or withdrawn since.
  stale_after_minutes: Age of the newest bar, from its close on, at which bars count as stale.
*/
create table ops.syncs (
    synced_at_utc timestamp not null,
    source varchar not null,
    interval varchar not null,
    from_utc timestamp not null,
    to_utc timestamp not null,
    symbols varchar[] not null,
    bars bigint not null,
    fingerprint varchar not null,
    record_ends_utc timestamp,
    new_bars bigint,
    changed_bars bigint,
    stale_after_minutes double
);
