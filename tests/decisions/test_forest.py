"""The forest's arrays: what they predict is what scikit-learn's own trees predict, and nonsense is refused."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from orchestrator.decisions.forecast.forest import LEAF, Forest
from orchestrator.simulation.forecast.fitting import as_forest


def test_arrays_predict_what_the_trees_they_were_made_from_predict():
    random = np.random.default_rng(0)
    rows = random.normal(size=(200, 4)).astype(np.float32)
    targets = rows[:, 0] * rows[:, 1] + random.normal(size=200)
    grown = ExtraTreesRegressor(7, min_samples_leaf=5, random_state=0).fit(rows, targets)
    forest = as_forest([estimator.tree_ for estimator in grown.estimators_])
    fresh = random.normal(size=(50, 4)).astype(np.float32)
    predicted = forest.predict(fresh.astype(float))
    assert predicted.shape == (7, 50)
    np.testing.assert_allclose(predicted.mean(axis=0), grown.predict(fresh), atol=1e-5)


def stump(**changes):
    arrays = {
        "feature": np.array([0, LEAF, LEAF], np.int16),
        "threshold": np.array([0.5, 0, 0], np.float32),
        "left": np.array([1, 1, 2], np.int32),
        "right": np.array([2, 1, 2], np.int32),
        "value": np.array([0, -1, 3], np.float32),
        "roots": np.array([0], np.int32),
    }
    return Forest(**{**arrays, **changes})


def test_a_row_at_the_threshold_goes_left():
    assert stump().predict(np.array([[0.5], [0.6], [-4.0]])).tolist() == [[-1.0, 3.0, -1.0]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("left", np.array([0, 1, 2], np.int32)),
        ("right", np.array([3, 1, 2], np.int32)),
        ("left", np.array([1, 2, 2], np.int32)),
        ("roots", np.array([3], np.int32)),
        ("value", np.array([0.0], np.float32)),
    ],
)
def test_arrays_that_make_no_trees_are_refused(field, value):
    with pytest.raises(ValueError, match="forest"):
        stump(**{field: value})
