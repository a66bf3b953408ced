"""What a study is worth, once everything in it has been chosen: the holdout is opened here, and nowhere else.

`holdout` finds the studies whose seal may be broken and stores what was seen, `trials` judges models on bars that
nobody chose them by, `verdict` puts the figures of a study beside what luck would give.
"""
