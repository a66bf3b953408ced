/*
description: >
  The history of every order: each thing that happened to it.
grain: one row per event
columns:
  client_id: Order, see desk.orders.
  at_utc: When it happened.
  state: State of the order after it.
  note: What happened, in words.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - not_null: [client_id, state]
*/
create table desk.order_events (
    client_id varchar not null,
    at_utc timestamp not null,
    state varchar not null,
    note varchar not null,
    version bigint not null
);
