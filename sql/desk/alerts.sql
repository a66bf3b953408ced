/*
description: Calls for a person, and their ends.
grain: one row per alert or end of one
columns:
  key: >
    What it is about: alerts of one key are one matter.
  at_utc: When it was raised or ended.
  severity: How bad it is.
  message: What is the matter.
  is_resolved: Whether this row ends the matter.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - not_null: [key, message]
*/
create table desk.alerts (
    key varchar not null,
    at_utc timestamp not null,
    severity varchar not null,
    message varchar not null,
    is_resolved boolean not null,
    version bigint not null
);
