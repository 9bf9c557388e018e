from jaxreg.lab.search.estimators import RegularizedMLPClassifier as RegularizedMLPClassifier
from jaxreg.lab.search.estimators import RegularizedMLPRegressor as RegularizedMLPRegressor
from jaxreg.lab.search.exported import FittedNets as FittedNets
from jaxreg.lab.search.exported import to_flax as to_flax
from jaxreg.lab.search.onnx_graph import to_onnx as to_onnx
from jaxreg.lab.search.plan import Plan as Plan
from jaxreg.lab.search.run import Search as Search
from jaxreg.lab.search.run import search as search
from jaxreg.lab.search.summaries import *
