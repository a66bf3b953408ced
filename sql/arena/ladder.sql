/*
description: Where each entrant of the arena stands.
grain: one row per model
columns:
  model: STUDY/TRIAL.
  position: Place in the order of entering.
  state: waiting, champion, eliminated or left (promoted, or retired by a person).
  wins: Matches won; who loses never plays again, so these are different opponents beaten in a row.
  eliminated_by: Whom it did not beat.
*/
with came as (
    select study || '/' || trial as model, position from arena.entrants
),

played as (
    select * from arena.matches
),

won as (
    select winner as model, count(*) as wins from played where winner is not null group by winner
),

lost as (
    select
        if(winner = challenger, champion, challenger) as model,
        if(winner = challenger, challenger, champion) as eliminated_by
    from played
),

standing as (
    select study || '/' || trial as model, stage from promotion.stages
),

-- Only the two in front play, and who leaves never returns: the champion is the one that came first of those left.
front as (
    select arg_min(came.model, came.position) as champion
    from came
    inner join standing using (model)
    anti join lost using (model)
    where standing.stage = 'arena'
)

select
    came.model,
    came.position,
    case
        when lost.model is not null then 'eliminated'
        when standing.stage <> 'arena' then 'left'
        when front.champion = came.model then 'champion'
        else 'waiting'
    end as state,
    coalesce(won.wins, 0) as wins,
    lost.eliminated_by
from came
left join won using (model)
left join lost using (model)
left join standing using (model)
cross join front
order by (state = 'champion') desc, wins desc, came.position
