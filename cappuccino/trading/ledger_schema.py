"""Tables of the trader's ledger. Every row carries the `version` of the transaction that wrote it last.

Versions rise by one with each transaction, so that whoever has seen all up to one knows what is new. Times are
microseconds since 1970 UTC, sizes and money that a venue has told are decimal text, all else is as in research.
"""

from __future__ import annotations

USER_VERSION = 1

TABLES = """
create table if not exists clock (version integer not null);
insert into clock select 0 where not exists (select 1 from clock);

-- One row for each virtual or real account; `state` is the account as the engine knows it.
create table if not exists accounts (
    account text primary key,
    broker text not null,
    market text not null default '',
    stage text not null,
    study text not null,
    trial integer not null,
    symbols text not null,
    interval text not null,
    opened_us integer not null,
    cash_usd real not null,
    state text not null,
    decided_us integer,
    marked_us integer,
    opening_closes text,
    foreign_units text not null default '{}',
    trouble text not null default '',
    closed_us integer,
    venue_account text not null default '',
    version integer not null
);
create index if not exists accounts_version on accounts (version);

-- What was decided at the close of a bar, or between two bars by protection; `state` is the account before it.
create table if not exists decisions (
    decision text primary key,
    account text not null,
    study text not null,
    trial integer not null,
    kind text not null,
    closed_us integer not null,
    decided_us integer not null,
    marks text not null,
    quotes text not null,
    action text,
    targets text,
    wanted text not null,
    rules integer not null,
    state text not null,
    explanation text,
    latency_s real not null,
    version integer not null
);
create index if not exists decisions_version on decisions (version);
create index if not exists decisions_account on decisions (account, closed_us);
create index if not exists decisions_decided on decisions (account, decided_us);

create table if not exists votes (
    decision text not null,
    symbol text not null,
    member_study text not null,
    member_trial integer not null,
    vote real not null,
    weight real not null,
    is_active integer not null,
    version integer not null,
    primary key (decision, symbol, member_study, member_trial)
);
create index if not exists votes_version on votes (version);

create table if not exists convictions (
    decision text not null,
    symbol text not null,
    score real not null,
    size real not null,
    momentum real not null,
    agreement real not null,
    volatility real not null,
    context real not null,
    passed integer not null,
    version integer not null,
    primary key (decision, symbol)
);
create index if not exists convictions_version on convictions (version);

-- An intent is an order of state `recorded`; nothing is sent that is not here.
create table if not exists orders (
    client_id text primary key,
    account text not null,
    decision text not null,
    purpose text not null,
    symbol text not null,
    side integer not null,
    units text not null,
    limit_usd text,
    expected_usd text not null,
    decision_usd real not null,
    bid_usd real not null,
    ask_usd real not null,
    attempt integer not null,
    is_protective integer not null,
    rules integer not null,
    state text not null,
    venue_id text not null default '',
    filled_units text not null default '0',
    filled_usd text not null default '0',
    fee_usd text not null default '0',
    fee_units text not null default '0',
    is_maker integer,
    reason text not null default '',
    recorded_us integer not null,
    sent_us integer,
    asked_us integer,
    updated_us integer not null,
    version integer not null
);
create index if not exists orders_version on orders (version);
create index if not exists orders_account on orders (account, state, updated_us);
create index if not exists orders_decision on orders (decision);

create table if not exists order_events (
    client_id text not null,
    at_us integer not null,
    state text not null,
    note text not null,
    version integer not null
);
create index if not exists order_events_version on order_events (version);
create index if not exists order_events_order on order_events (client_id);

create table if not exists fills (
    fill text primary key,
    client_id text not null,
    account text not null,
    study text not null,
    trial integer not null,
    symbol text not null,
    units real not null,
    price_usd real not null,
    fee_usd real not null,
    fee_units real not null,
    slippage_usd real not null,
    shortfall_usd real not null,
    realized_pnl_usd real not null,
    is_maker integer,
    filled_us integer not null,
    version integer not null
);
create index if not exists fills_version on fills (version);
create index if not exists fills_account on fills (account, filled_us);

-- Each account at the close of each bar.
create table if not exists equity (
    account text not null,
    closed_us integer not null,
    stage text not null,
    study text not null,
    trial integer not null,
    value_usd real not null,
    benchmark_usd real not null,
    exposure_frac real not null,
    fee_usd real not null,
    slippage_usd real not null,
    turnover_usd real not null,
    rules integer not null,
    version integer not null,
    primary key (account, closed_us)
);
create index if not exists equity_version on equity (version);

-- Each account at each look at the market.
create table if not exists looks (
    account text not null,
    at_us integer not null,
    value_usd real not null,
    cash_usd real not null,
    exposure_frac real not null,
    version integer not null,
    primary key (account, at_us)
);
create index if not exists looks_version on looks (version);
create index if not exists looks_at on looks (at_us);

create table if not exists positions (
    account text not null,
    symbol text not null,
    units real not null,
    entry_usd real not null,
    peak_usd real not null,
    price_usd real not null,
    value_usd real not null,
    venue_units text,
    at_us integer not null,
    version integer not null,
    primary key (account, symbol)
);
create index if not exists positions_version on positions (version);

-- What stood in the way of trading: rules that acted, refusals, bad data, mismatches, outages.
create table if not exists events (
    at_us integer not null,
    account text not null,
    kind text not null,
    symbol text not null,
    detail text not null,
    version integer not null
);
create index if not exists events_version on events (version);

create table if not exists alerts (
    key text not null,
    at_us integer not null,
    severity text not null,
    message text not null,
    is_resolved integer not null,
    version integer not null
);
create index if not exists alerts_version on alerts (version);

create table if not exists calls (
    at_us integer not null,
    source text not null,
    endpoint text not null,
    outcome text not null,
    calls integer not null,
    share_frac real not null,
    waited_s real not null,
    example text not null,
    version integer not null
);
create index if not exists calls_version on calls (version);

create table if not exists fee_tiers (
    at_us integer not null,
    broker text not null,
    name text not null,
    maker_frac text not null,
    taker_frac text not null,
    volume_usd text not null,
    version integer not null
);
create index if not exists fee_tiers_version on fee_tiers (version);

-- What a venue accepts of a symbol, as it said last: for a start while it does not answer. The warehouse has no copy.
create table if not exists instruments (
    broker text not null,
    symbol text not null,
    instrument text not null,
    at_us integer not null,
    version integer not null,
    primary key (broker, symbol)
);

create table if not exists heartbeats (
    at_us integer not null,
    pid integer not null,
    phase text not null,
    poll integer not null,
    took_s real not null,
    memory_mb real not null,
    open_files integer not null,
    accounts integer not null,
    trouble text not null,
    version integer not null
);
create index if not exists heartbeats_version on heartbeats (version);
create index if not exists heartbeats_at on heartbeats (at_us);
"""

MIRRORED = (
    "accounts",
    "decisions",
    "votes",
    "convictions",
    "orders",
    "order_events",
    "fills",
    "equity",
    "looks",
    "positions",
    "events",
    "alerts",
    "calls",
    "fee_tiers",
    "heartbeats",
)
"""Tables that the warehouse keeps a copy of, by version."""
