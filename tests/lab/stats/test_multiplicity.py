import numpy as np
import pytest
import xarray as xr

from jaxreg.lab.stats import multiplicity

# Fifteen p-values of Benjamini and Hochberg (1995), section 3.2, and a short list out of order with ties.
# Adjusted values: statsmodels 0.15.0, multipletests(p, method="holm" or "fdr_bh").
PUBLISHED = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
PUBLISHED += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
TAIL = [0.5811818182, 0.714875, 0.7532307692, 0.8132142857, 1.0]
CASES = {
    "published": (
        PUBLISHED,
        [0.0015, 0.0056, 0.0247, 0.114, 0.2211, 0.278, 0.278, 0.278, 0.3213, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        [0.0015, 0.003, 0.0095, 0.035625, 0.0603, 0.06385714286, 0.06385714286, 0.0645, 0.0765, 0.486, *TAIL],
    ),
    "unordered": (
        [0.04, 0.01, 0.5, 0.01, 0.2],
        [0.12, 0.05, 0.5, 0.05, 0.4],
        [0.06666666667, 0.025, 0.5, 0.025, 0.25],
    ),
    "single": ([0.03], [0.03], [0.03]),
}


@pytest.mark.parametrize("case", CASES)
def test_adjusted_p_values(case):
    p, holm, hochberg = CASES[case]
    values = xr.DataArray(p, dims="recipe")
    np.testing.assert_allclose(multiplicity.holm(values).values, holm, rtol=1e-9)
    np.testing.assert_allclose(multiplicity.benjamini_hochberg(values).values, hochberg, rtol=1e-9)


def test_the_published_example_rejects_four_and_three():
    p = xr.DataArray(PUBLISHED, dims="recipe")
    assert int((multiplicity.benjamini_hochberg(p) <= 0.05).sum()) == 4
    assert int((multiplicity.holm(p) <= 0.05).sum()) == 3


@pytest.mark.parametrize("adjust", [multiplicity.holm, multiplicity.benjamini_hochberg])
def test_a_table_of_p_values_is_one_family_and_keeps_its_labels(adjust):
    table = xr.DataArray(
        np.random.default_rng(0).uniform(size=(3, 4)),
        dims=("recipe", "dataset"),
        coords={"recipe": ["a", "b", "c"]},
    )
    adjusted = adjust(table)
    xr.testing.assert_identical(adjusted.coords.to_dataset(), table.coords.to_dataset())
    np.testing.assert_array_equal(adjusted.values.ravel(), adjust(xr.DataArray(table.values.ravel(), dims="p")).values)
    assert (adjusted >= table).all()


@pytest.mark.parametrize("adjust", [multiplicity.holm, multiplicity.benjamini_hochberg])
@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_numbers_that_are_no_probabilities_are_refused(adjust, bad):
    with pytest.raises(ValueError, match="expected numbers from 0 to 1"):
        adjust(xr.DataArray([0.5, bad], dims="recipe"))
