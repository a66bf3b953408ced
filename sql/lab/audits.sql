/*
description: >
  What every audit of a model found: whether its features, actions, fills and equity move when the future is cut off or
  changed, and whether its scales, folds, fill times and weights are what they should be. Rows are never changed.
grain: one row per model, audit and check
columns:
  study: Study of the model.
  trial: Trial of the model.
  audit: Number of the model's audit, from 1.
  audited_at_utc: Clock time of the audit.
  position: Place of the check in the report, from 0.
  name: >
    truncated_ and perturbed_ features, actions, fills and equity; whole_panel_features; history_features; scales;
    fold_edges; train_end; fill_times; same_answers; weights.
  passed: Whether it passed; empty when there was nothing to ask.
  figure: What was counted or measured, 0 is well; infinite when it could not be measured though it should be.
  detail: What was asked, or what was found wrong first.
  code_version: Version of Cappuccino that asked.
tests:
  - unique: [study, trial, audit, name]
  - expression: audit >= 1 and position >= 0 and figure >= 0 and detail <> ''
*/
create table lab.audits (
    study varchar not null,
    trial bigint not null,
    audit bigint not null,
    audited_at_utc timestamp not null,
    position bigint not null,
    name varchar not null,
    passed boolean,
    figure double not null,
    detail varchar not null,
    code_version varchar not null,
    primary key (study, trial, audit, name)
);
