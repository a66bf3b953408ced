/*
description: >
  What the trees of each model look at: the share of every input in what the splits of the final model gained. A share
  says what was used on training bars, not that it helped on others.
grain: one row per study, trial, feature and view
columns:
  study: Study of trees.
  trial: Trial of the model.
  feature: Name of the feature, or symbol.
  view: How it is looked at, now, change_N (since N bars ago) or market (mean over all symbols).
  gain_frac: Share of the gain; all of a model add up to 1, or to 0 without a split.
tests:
  - unique: [study, trial, feature, view]
  - relationship: {column: study, to: lab.studies.study}
  - expression: gain_frac >= 0
*/
create table lab.tree_importances (
    study varchar not null,
    trial bigint not null,
    feature varchar not null,
    view varchar not null,
    gain_frac double not null,
    primary key (study, trial, feature, view)
);
