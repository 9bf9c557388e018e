"""Every path that users had before the packages of today can still be imported."""

from importlib import import_module

import pytest

NAMES = {
    "jaxreg": """
        BIASES EMBEDDINGS KERNELS L1 L1L2 L2 MCP RECURRENT_KERNELS Box FixedBound FrobeniusSphere GroupLasso
        InflectionBound InitialBound Intersection L1Ball Linf LinfBall Lp MaxNorm MaxRMS Meaning MinMaxNorm NMSparse
        NonNeg Nuclear NuclearBall Orthogonal Orthonormal Simplex SoftSpectralCap Sparse Spectral SpectralNorm SumTo
        ToReference TreeNorm UnitNorm WarmBound apply_updates bounded bregman cautious_decay conditional_gradient
        convert_strength corrected_decay decay diagnostics explain feasible hyperball independent_decay
        initial_spheres keras p_norm_decay penalize penalty project projected proximal proximal_adam steepest
        to_reference tree_norm violation
    """,
    "jaxreg.penalties": "L1 L1L2 L2 MCP GroupLasso Lp",
    "jaxreg.constraints": "MaxNorm MaxRMS MinMaxNorm UnitNorm",
    "jaxreg.transforms": "penalize project",
    "jaxreg.diagnostics": "unit_norms violations at_limit exact_zeros penalties moves",
    "jaxreg.keras": "AdamState adam adamw OrthogonalRegularizer MaxNorm MinMaxNorm UnitNorm",
    "jaxreg.lab": """
        BINARY CLASSES CNN GRU LSTM MLP NUMBERS Arm Claim Data Labelled Model Problem Recipe RegularizedMLPClassifier
        RegularizedMLPRegressor Size Study Task binary_accuracy binary_cross_entropy breast_cancer
        categorical_accuracy categorical_cross_entropy diabetes digits digits_by_row equal_error_rate equinox fit
        linen moons nnx open_store open_study openml root_mean_squared_error run_study splits squared_error
        standardised sunspots sweep tutorial_moons windows
    """,
    "jaxreg.lab.stats": """
        MEANINGFUL InterquartileMean NestedChoice OneStandardError Outperforming Paired Resampled VarianceSplit
        Verdict benjamini_hochberg differences diverged draws_for_mean draws_for_probability holm interquartile_mean
        mask_diverged mean_interval nadeau_bengio nested_choice one_standard_error outperforms paired share_interval
        variance_split wilcoxon
    """,
    "jaxreg.lab.plots": """
        COLOURS curve data decision_surface heat_map learning_curves paired_differences sparsity_path strength_path
        style violation weight_histograms weight_norms
    """,
    "jaxreg.lab.weights": """
        named filled to_keras from_keras save_npz load_npz save_safetensors load_safetensors save_csv load_csv
    """,
    "jaxreg.lab.population": """
        zeroing_strength warm_path Survivors successive_halving population_training Points closing_in evaluated
    """,
    "jaxreg.lab.hypergradient": "forward implicit conjugate_gradients neumann Tuned tune",
    "jaxreg.lab.models": "MLP CNN LSTM GRU Model linen nnx equinox",
    "jaxreg.lab.layers": "Dense Conv LSTMLayer GRULayer orthogonal",
    "jaxreg.lab.data": "Data splits standardised parted",
    "jaxreg.lab.datasets": """
        moons tutorial_moons digits digits_by_row breast_cancer diabetes sunspots windows openml yearly_sunspots
    """,
    "jaxreg.lab.report": "report",
    "jaxreg.lab.search": "search Plan Search open_search",
    # Moved once; the changelog's table says from where.
    "jaxreg.lab.training": "begin advance State",
    "jaxreg.lab.sweeps": "keep_compiled",
    "jaxreg.lab.studies": "StudyResults open_study open_sweep",
}
PATHS = [f"{module}:{name}" for module, names in NAMES.items() for name in names.split()]


@pytest.mark.parametrize("path", PATHS)
def test_path_can_be_imported(path):
    module, _, name = path.partition(":")
    assert getattr(import_module(module), name) is not None


def test_the_lists_are_those_of_the_last_flat_version():
    assert len(NAMES["jaxreg"].split()) == 65
    assert len(NAMES["jaxreg.lab"].split()) == 45
