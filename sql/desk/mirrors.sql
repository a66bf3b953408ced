/*
description: >
  How far the trader's ledger has been copied into this schema: versions up to these are here.
grain: one row per table of the ledger
columns:
  table_name: Table of the ledger.
  version: Every row that a transaction up to this one wrote is here.
  mirrored_at_utc: When something was copied last.
tests:
  - unique: [table_name]
*/
create table desk.mirrors (
    table_name varchar not null,
    version bigint not null,
    mirrored_at_utc timestamp not null,
    primary key (table_name)
);
