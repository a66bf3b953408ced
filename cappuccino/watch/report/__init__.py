"""The report page.

read_frames    everything that it shows, out of the warehouse
write_report   one self-contained HTML file
render         the same page as text
"""

from cappuccino.watch.report.frames import read_frames
from cappuccino.watch.report.write import render, write_report

__all__ = ["read_frames", "render", "write_report"]
