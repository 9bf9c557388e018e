from jaxreg import diagnostics as diagnostics
from jaxreg import keras as keras
from jaxreg.constraints import *
from jaxreg.penalties import *
from jaxreg.rules import *
from jaxreg.solvers import *
from jaxreg.strengths import Meaning as Meaning
from jaxreg.strengths import convert_strength as convert_strength
from jaxreg.transforms import *

__version__: str
