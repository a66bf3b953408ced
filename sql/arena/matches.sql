/*
description: Every match of the arena; who does not win is eliminated for good, on a draw the challenger.
grain: one row per match
columns:
  match_id: Hash of who met whom; a match is never played twice.
  sequence: Order of the matches, from 1.
  champion: Model that stood in the arena, STUDY/TRIAL.
  challenger: Model that entered, STUDY/TRIAL.
  winner: Who won most windows; empty on a draw, after which the champion stays.
  champion_wins: Windows that the champion won.
  challenger_wins: Windows that the challenger won.
  score: What was compared in each window (log_return, sharpe or alpha).
  windows: The windows with both scores, as JSON; readable in arena.windows.
  seed: Seed of the windows, from the match's identity.
  played_at_utc: Clock time of the match; no later bar was used.
tests:
  - unique: [match_id]
  - unique: [sequence]
  - unique: [challenger, champion]
  - expression: winner is null or winner in (champion, challenger)
  - expression: champion <> challenger
*/
create table arena.matches (
    match_id varchar primary key,
    sequence bigint not null,
    champion varchar not null,
    challenger varchar not null,
    winner varchar,
    champion_wins bigint not null,
    challenger_wins bigint not null,
    score varchar not null,
    windows varchar not null,
    seed bigint not null,
    played_at_utc timestamp not null
);
