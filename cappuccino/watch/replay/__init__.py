"""The page of a replay: what the whole organisation would have earned, beside the baselines.

write_replay_report   one self-contained HTML file
replays_frame         one row for each replay
"""

from cappuccino.watch.replay.read import replays_frame
from cappuccino.watch.replay.write import write_replay_report

__all__ = ["replays_frame", "write_replay_report"]
