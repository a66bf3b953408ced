/*
description: Every order of the trader, from the intent to its end. One of state `recorded` was never sent.
grain: one row per order
columns:
  client_id: Our name for it, a function of the decision.
  account: >
    Account of the trader: STUDY/TRIAL of a virtual one, the broker's name of a real one.
  decision: Key of the decision, see desk.decisions.
  purpose: >
    Why it was made: wish, protection, flatten.
  symbol: Pair.
  side: 1 buys, -1 sells.
  units: Units ordered, without sign.
  limit_usd: Price of a post-only limit; empty for an order at the market.
  expected_usd: Price that the cost model expects.
  decision_usd: Price that was decided on.
  bid_usd: Best bid when it was made.
  ask_usd: Best ask when it was made.
  attempt: 0 for the first order of a decision and symbol, then 1, 2 ... for what was left.
  is_protective: >
    Whether it lowers risk: no filter may drop it.
  rules: Bit flags of the rules of its decision.
  state: >
    recorded, sending, unknown, working and canceling are open; filled, canceled, expired, rejected (by the venue),
    denied (by us) and absent (the venue never had it) are not.
  venue_id: The venue's name for it; empty before it has one.
  filled_units: Units filled so far.
  filled_usd: Their value.
  fee_usd: Fees that were taken in USD.
  fee_units: Fees that were taken in the coin.
  is_maker: Whether it was filled from the book; empty when nobody knows, or for a mixture.
  reason: Why it was refused or ended; empty otherwise.
  recorded_at_utc: When it was stored, before anything was sent.
  sent_at_utc: When it was sent first.
  asked_at_utc: When its end was asked for.
  updated_at_utc: When anything of it changed last.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - unique: [client_id]
  - accepted: {side: [1, -1]}
  - accepted: {state: [recorded, sending, unknown, working, canceling, filled, canceled, expired, rejected, denied, absent]}
  - expression: units >= 0 and filled_units >= 0
*/
create table desk.orders (
    client_id varchar not null,
    account varchar not null,
    decision varchar not null,
    purpose varchar not null,
    symbol varchar not null,
    side bigint not null,
    units double not null,
    limit_usd double,
    expected_usd double not null,
    decision_usd double not null,
    bid_usd double not null,
    ask_usd double not null,
    attempt bigint not null,
    is_protective boolean not null,
    rules bigint not null,
    state varchar not null,
    venue_id varchar not null,
    filled_units double not null,
    filled_usd double not null,
    fee_usd double not null,
    fee_units double not null,
    is_maker boolean,
    reason varchar not null,
    recorded_at_utc timestamp not null,
    sent_at_utc timestamp,
    asked_at_utc timestamp,
    updated_at_utc timestamp not null,
    version bigint not null,
    primary key (client_id)
);
