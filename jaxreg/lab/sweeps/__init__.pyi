from jaxreg.lab.sweeps.compilation import keep_compiled as keep_compiled
from jaxreg.lab.sweeps.engine import sweep as sweep
from jaxreg.lab.sweeps.manifest import DamagedError as DamagedError
from jaxreg.lab.sweeps.store import OtherSweepError as OtherSweepError
from jaxreg.lab.sweeps.store import open_store as open_store
