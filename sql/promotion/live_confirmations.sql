/*
description: Every time the operator confirmed an account and a capital step for real money, or took that back; append-only.
grain: one row per confirmation or revocation
columns:
  sequence: Order of the rows, from 1.
  broker: Venue of the account.
  account_id: The account that the venue said the keys belong to.
  step: Capital step that was confirmed, from 1; 0 takes back whatever was confirmed for the account before.
  capital_usd: Money that the step lets be traded with; 0 for a revocation.
  study: Study of the model that was live then.
  trial: Trial of the model that was live then.
  reason: Why, in the operator's words.
  decided_by: Always the operator.
  confirmed_at_utc: Clock time of the confirmation.
tests:
  - unique: [sequence]
  - not_null: [broker, account_id, reason, confirmed_at_utc]
  - expression: step >= 0 and (step = 0) = (capital_usd = 0)
  - expression: capital_usd >= 0
  - accepted: {decided_by: [operator]}
*/
create table promotion.live_confirmations (
    sequence bigint primary key,
    broker varchar not null,
    account_id varchar not null,
    step bigint not null,
    capital_usd double not null,
    study varchar not null,
    trial bigint not null,
    reason varchar not null,
    decided_by varchar not null,
    confirmed_at_utc timestamp not null
);
