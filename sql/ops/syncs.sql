/*
description: Every sync of bars from a source.
grain: one row per sync
columns:
  synced_at_utc: Clock time of the sync.
  source: Source that was asked.
  interval: Interval that was asked for.
  from_utc: First bar open that was asked for.
  to_utc: End of the range, exclusive.
  symbols: Pairs that were asked for.
  bars: Bars that were stored.
  fingerprint: Hash of the stored bars.
  record_ends_utc: Where the source's record ends, and with it the present of this warehouse; empty when it goes on.
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
    record_ends_utc timestamp
);
