/*
description: >
  What features and studies were made from, and whether those bars are still the same. A correction in the past, a bar
  that was filled in or one that was withdrawn makes them out of date; bars after their range do not, and putting the
  old bars back makes them current again.
grain: one row per interval with features, and per study
columns:
  kind: features, or the kind of a study.
  name: Interval of the features, or name of the study.
  is_in_use: >
    True for features, for the newest study of its kind and for studies with a model that is not retired; what is out
    of date and in use should be made again.
  models: Models of the study that are not retired, with their stage.
  symbols: Traded pairs.
  from_utc: Open of the first bar that counts, warm-up included.
  to_utc: End of the bars that count.
  made_at_utc: Clock time of the build, or the study's moment.
  bars_fingerprint: Fingerprint of the base bars as they were used; empty for studies of before there was one.
  fingerprint_now: Fingerprint of the base bars as they are stored now.
  is_out_of_date: Whether the two differ; empty where the first is not known.
  known_since_utc: Clock time of the first sync that changed bars in the range; empty when none is known.
tests:
  - unique: [kind, name]
  - accepted: {kind: [features, timeframe, training, trees, ensemble]}
examples:
  - name: other bars than then are out of date since the sync that changed them, an unknown past is not judged
    given:
      features.builds:
        - {interval: 1h, symbols: [A/USD], features: [f], from_utc: 2025-01-01, to_utc: 2025-01-02, bars_fingerprint: other, built_at_utc: 2025-01-02}
        - {interval: 4h, symbols: [A/USD], features: [f], from_utc: 2025-01-01, to_utc: 2025-01-02, bars_fingerprint: d41d8cd98f00b204e9800998ecf8427e, built_at_utc: 2025-01-02}
      lab.studies:
        - {study: t-1, kind: training, state: complete, as_of_utc: 2025-01-02, seed: 1, trial_cap: 1, symbols: [A/USD], interval: 1h, lookback: 1, is_simulated: true, data_start_utc: 2025-01-01, data_end_utc: 2025-01-02, train_end_utc: 2025-01-02, data_fingerprint: f, code_version: '1', settings: '{}'}
        - {study: t-2, kind: training, state: complete, as_of_utc: 2025-01-03, seed: 1, trial_cap: 1, symbols: [A/USD], interval: 1h, lookback: 1, is_simulated: true, data_start_utc: 2025-01-01, data_end_utc: 2025-01-02, train_end_utc: 2025-01-02, data_fingerprint: f, bars_from_utc: 2025-01-01, bars_fingerprint: other, code_version: '1', settings: '{}'}
      promotion.stages: []
      market.fingerprints: []
      ops.syncs:
        - {synced_at_utc: 2025-01-01, source: t, interval: 1h, from_utc: 2025-01-01, to_utc: 2025-01-02, symbols: [A/USD], bars: 9, fingerprint: f, changed_bars: 1}
        - {synced_at_utc: 2025-01-05, source: t, interval: 1h, from_utc: 2025-01-01, to_utc: 2025-01-02, symbols: [A/USD], bars: 9, fingerprint: f, changed_bars: 1}
        - {synced_at_utc: 2025-01-06, source: t, interval: 1h, from_utc: 2025-01-01, to_utc: 2025-01-02, symbols: [A/USD], bars: 9, fingerprint: f, changed_bars: 1}
    expect:
      - {kind: features, name: 1h, is_in_use: true, is_out_of_date: true, known_since_utc: 2025-01-05}
      - {kind: features, name: 4h, is_in_use: true, is_out_of_date: false, known_since_utc: null}
      - {kind: training, name: t-1, is_in_use: false, is_out_of_date: null, known_since_utc: null}
      - {kind: training, name: t-2, is_in_use: true, is_out_of_date: true, known_since_utc: 2025-01-05}
*/
with
active_models as (
    select study, list(study || '/' || trial || ' (' || stage || ')' order by trial) as models
    from promotion.stages
    where stage <> 'retired'
    group by study
),

newest as (
    select max_by(study, (as_of_utc, study)) as study
    from lab.studies
    where state in ('running', 'complete', 'converged')
    group by kind
),

seen as (
    select
        'features' as kind,
        interval as name,
        true as is_in_use,
        []::varchar[] as models,
        symbols,
        from_utc,
        to_utc,
        built_at_utc as made_at_utc,
        bars_fingerprint
    from features.builds
    union all
    select
        lab.studies.kind,
        lab.studies.study,
        active_models.study is not null or lab.studies.study in (select study from newest),
        coalesce(active_models.models, []),
        lab.studies.symbols,
        coalesce(lab.studies.bars_from_utc, lab.studies.data_start_utc),
        -- Studies of before there was a holdout saw all that there was.
        if(lab.studies.holdout_from_utc is null, lab.studies.data_end_utc, lab.studies.train_end_utc),
        lab.studies.as_of_utc,
        lab.studies.bars_fingerprint
    from lab.studies
    left join active_models using (study)
),

cuts as (
    select distinct unnest([from_utc, to_utc]) as cut_utc from seen where bars_fingerprint is not null
),

pieces as (
    -- Bars between two neighbouring cuts: each bar is looked at once, however many ranges it belongs to.
    select
        bar.symbol,
        cuts.cut_utc,
        count(*) as n_bars,
        sum(bar.fingerprint) as total
    from market.fingerprints as bar
    asof join cuts on bar.opened_at_utc >= cuts.cut_utc
    where not bar.is_derived
    group by bar.symbol, cuts.cut_utc
),

totals as (
    select
        seen.kind,
        seen.name,
        pieces.symbol,
        sum(pieces.n_bars) as n_bars,
        sum(pieces.total) as total
    from seen
    inner join pieces
        on pieces.cut_utc >= seen.from_utc
        and pieces.cut_utc < seen.to_utc
        and list_contains(seen.symbols, pieces.symbol)
    group by seen.kind, seen.name, pieces.symbol
),

present as (
    -- As in cappuccino/market/fingerprint.py, which gave the fingerprint then.
    select kind, name, md5(string_agg(concat_ws(' ', symbol, n_bars, total), ',' order by symbol)) as fingerprint_now
    from totals
    group by kind, name
),

changes as (
    select
        seen.kind,
        seen.name,
        coalesce(
            min(ops.syncs.synced_at_utc) filter (ops.syncs.changed_bars > 0),
            min(ops.syncs.synced_at_utc) filter (ops.syncs.new_bars > 0)
        ) as known_since_utc
    from seen
    inner join ops.syncs
        on ops.syncs.synced_at_utc > seen.made_at_utc
        and ops.syncs.from_utc < seen.to_utc
        and ops.syncs.to_utc > seen.from_utc
        and list_has_any(ops.syncs.symbols, seen.symbols)
    group by seen.kind, seen.name
),

compared as (
    select seen.*, coalesce(present.fingerprint_now, md5('')) as fingerprint_now, changes.known_since_utc
    from seen
    left join present on present.kind = seen.kind and present.name = seen.name
    left join changes on changes.kind = seen.kind and changes.name = seen.name
)

select
    kind,
    name,
    is_in_use,
    models,
    symbols,
    from_utc,
    to_utc,
    made_at_utc,
    bars_fingerprint,
    if(bars_fingerprint is null, null, fingerprint_now) as fingerprint_now,
    bars_fingerprint <> fingerprint_now as is_out_of_date,
    if(bars_fingerprint <> fingerprint_now, known_since_utc, null) as known_since_utc
from compared
order by made_at_utc desc, kind, name
