from jaxreg.lab.studies.results import Claim as Claim
from jaxreg.lab.studies.results import StudyResults as StudyResults
from jaxreg.lab.studies.results import by_recipe as by_recipe
from jaxreg.lab.studies.results import open_study as open_study
from jaxreg.lab.studies.results import open_sweep as open_sweep
from jaxreg.lab.studies.runner import run_study as run_study
from jaxreg.lab.studies.study import Arm as Arm
from jaxreg.lab.studies.study import Size as Size
from jaxreg.lab.studies.study import Study as Study
from jaxreg.lab.studies.summaries import *
