"""Several candidates that trade as one: members vote on each bar, one wish and one account carry out what comes of it.

votes      mean, median, score-weighted and adaptive: from ballots to one action
seasons    whom an adaptive ensemble listens to: a pure function of the bars up to now
reference  what a member would have voted with a flat account, many bars at once
document   members, weights and wish as `model.json`
agent      an ensemble from its artifact folder, a candidate like any other
log        votes as rows of `desk.votes`
members    who may be a member: the best distinct candidates of the newest studies
contest    members and ensembles on the same unseen bars
build      the four ensembles of a study, and whether they are better than those before
record     what was built, as rows
"""
