/*
description: >
  That the trader is alive: one line for each look at the market.
grain: one row per look
columns:
  at_utc: When.
  pid: Process.
  phase: What it was doing.
  poll: Number of the look since the process began.
  took_s: Seconds that the look took.
  memory_mb: Memory of the process.
  open_files: Open files of the process.
  accounts: Accounts that it keeps.
  trouble: What stands in the way of all trading; empty when nothing does.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - not_null: [pid, phase]
*/
create table desk.heartbeats (
    at_utc timestamp not null,
    pid bigint not null,
    phase varchar not null,
    poll bigint not null,
    took_s double not null,
    memory_mb double not null,
    open_files bigint not null,
    accounts bigint not null,
    trouble varchar not null,
    version bigint not null
);
