"""The jobs of an experiment: of each stage the settings, and how the plan fills them from the config.

Nothing here reads a result, or imports torch.
"""

from rrl.jobs.planned import Planned, behind
from rrl.jobs.stage import STAGES
from rrl.jobs.tables import TableJobs

__all__ = ["STAGES", "Planned", "TableJobs", "behind"]
