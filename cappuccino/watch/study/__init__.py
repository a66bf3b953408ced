"""The page of a study looked at afterwards: what came of it, what mattered, and what was luck.

newest_study          the training study that looked last
read_analysis         all rows of one study
write_study_report    one self-contained HTML file
"""

from cappuccino.watch.study.read import Analysis, newest_study, read_analysis
from cappuccino.watch.study.write import write_study_report

__all__ = ["Analysis", "newest_study", "read_analysis", "write_study_report"]
