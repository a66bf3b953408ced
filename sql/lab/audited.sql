/*
description: The newest audit of each model in one row; a model moves on to the sandbox only when it passed.
grain: one row per audited model
columns:
  study: Study of the model.
  trial: Trial of the model.
  audit: Number of the audit.
  audited_at_utc: Clock time of the audit.
  passed: Whether something was asked and nothing failed.
  n_passed: Checks that passed.
  n_failed: Checks that failed.
  n_skipped: Checks that had nothing to ask.
  failed: Names of those that failed.
  example: What the first of them found.
  code_version: Version of Cappuccino that asked.
tests:
  - unique: [study, trial]
examples:
  - given:
      lab.audits:
        - {study: s, trial: 0, audit: 1, position: 0, name: weights, passed: false, detail: other weights}
        - {study: s, trial: 0, audit: 2, position: 0, name: scales, passed: true, detail: equal}
        - {study: s, trial: 0, audit: 2, position: 1, name: weights, passed: null, detail: not asked}
        - {study: s, trial: 1, audit: 1, position: 0, name: scales, passed: false, detail: too wide}
        - {study: s, trial: 1, audit: 1, position: 1, name: weights, passed: false, detail: others}
        - {study: s, trial: 2, audit: 1, position: 0, name: weights, passed: null, detail: not asked}
    expect:
      - {study: s, trial: 0, audit: 2, passed: true, n_passed: 1, n_failed: 0, n_skipped: 1, failed: [], example: null}
      - {study: s, trial: 1, audit: 1, passed: false, n_passed: 0, n_failed: 2, n_skipped: 0, failed: [scales, weights], example: too wide}
      - {study: s, trial: 2, audit: 1, passed: false, n_passed: 0, n_failed: 0, n_skipped: 1, failed: [], example: null}
*/
with newest as (
    select study, trial, max(audit) as audit
    from lab.audits
    group by study, trial
)

select
    lab.audits.study,
    lab.audits.trial,
    lab.audits.audit,
    any_value(lab.audits.audited_at_utc) as audited_at_utc,
    count(*) filter (where lab.audits.passed) > 0
    and count(*) filter (where not lab.audits.passed) = 0 as passed,
    count(*) filter (where lab.audits.passed) as n_passed,
    count(*) filter (where not lab.audits.passed) as n_failed,
    count(*) filter (where lab.audits.passed is null) as n_skipped,
    coalesce(list(lab.audits.name order by lab.audits.position) filter (where not lab.audits.passed), []) as failed,
    arg_min(lab.audits.detail, lab.audits.position) filter (where not lab.audits.passed) as example,
    any_value(lab.audits.code_version) as code_version
from lab.audits
inner join newest using (study, trial, audit)
group by lab.audits.study, lab.audits.trial, lab.audits.audit
order by lab.audits.study desc, lab.audits.trial
