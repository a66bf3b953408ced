"""The doctor: what is wrong here, and what to do about it.

examine    everything, as a list of findings
machine    Python, libraries, disk, a readable secret file
record     configuration, source, warehouse, locks, bars, published copy, the model in production
"""

from cappuccino.watch.doctor.examine import examine
from cappuccino.watch.doctor.finding import Finding

__all__ = ["Finding", "examine"]
