"""What scikit-learn's linear models, forests and boosted trees compute, as graphs in float64."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sklearn.base import is_classifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeCV,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from scoreline.core.errors import SealRefused
from scoreline.sealing.columns import Column
from scoreline.sealing.graph import DoubleTree, Graph, constant_tree, splits_of
from scoreline.sealing.prepare import linear, matrix
from scoreline.sealing.trained import Split


@dataclass(frozen=True, slots=True)
class Ending:
    """An estimator in a graph: the name of its margins there, its link, and the splits of its trees by column."""

    margins: str
    link: str
    splits: Sequence[Split] = ()


def ending(graph: Graph, estimator: Any, columns: Sequence[Column], n_outputs: int) -> Ending:
    """Puts a fitted estimator behind the columns; raises SealRefused for what is not supported."""
    write = _WRITERS.get(type(estimator))
    if write is None:
        raise SealRefused(
            f"{type(estimator).__name__} cannot be sealed; what can stand at the end of a pipeline: models of XGBoost "
            f"and LightGBM, {', '.join(kind.__name__ for kind in _WRITERS)}"
        )
    return write(graph, estimator, columns, n_outputs)


def _linear(graph: Graph, estimator: Any, columns: Sequence[Column], n_outputs: int) -> Ending:
    weights = np.atleast_2d(np.asarray(estimator.coef_, np.float64)).T
    if weights.shape != (len(columns), n_outputs):
        raise SealRefused(f"the {type(estimator).__name__} has several targets; seal one model per target")
    intercept = np.broadcast_to(np.asarray(estimator.intercept_, np.float64), (n_outputs,))
    link = _class_link(n_outputs) if is_classifier(estimator) else "identity"
    if isinstance(estimator, PoissonRegressor | GammaRegressor):
        link = "exp"
    return Ending(linear(graph, columns, weights, intercept), link)


def _forest(graph: Graph, estimator: Any, columns: Sequence[Column], n_outputs: int) -> Ending:
    """The mean over trees, added up in their order and then divided, as the estimator does."""
    if estimator.n_outputs_ > 1:
        raise SealRefused(f"the {type(estimator).__name__} has several targets; seal one model per target")
    members = getattr(estimator, "estimators_", [estimator])
    first = int(is_classifier(estimator) and n_outputs == 1)
    trees = [
        _tree(member.tree_, output, member.tree_.value[:, 0, first + output])
        for member in members
        for output in range(n_outputs)
    ]
    total = graph.trees(_as_float32(graph, matrix(graph, columns)), trees, n_outputs)
    mean = graph.add("Div", total, graph.constant(float(len(members))))
    return Ending(mean, "identity", splits_of(trees, rounded=True))


def _gradient_boosting(graph: Graph, estimator: Any, columns: Sequence[Column], n_outputs: int) -> Ending:
    if is_classifier(estimator) and estimator.loss != "log_loss":
        raise SealRefused(f"loss {estimator.loss!r} cannot be sealed; train with log_loss")
    if estimator.init not in (None, "zero"):
        raise SealRefused("a GradientBoosting model that starts from another estimator (init) cannot be sealed")
    start = np.ravel(estimator._raw_predict_init(np.zeros((1, len(columns)), np.float32)))
    trees = [constant_tree(output, value) for output, value in enumerate(start)] + [
        _tree(member.tree_, output, estimator.learning_rate * member.tree_.value[:, 0, 0])
        for stage in estimator.estimators_
        for output, member in enumerate(stage)
    ]
    margins = graph.trees(_as_float32(graph, matrix(graph, columns)), trees, n_outputs)
    link = _class_link(n_outputs) if is_classifier(estimator) else "identity"
    return Ending(margins, link, splits_of(trees, rounded=True))


def _hist_gradient_boosting(graph: Graph, estimator: Any, columns: Sequence[Column], n_outputs: int) -> Ending:
    if estimator.is_categorical_ is not None:
        raise SealRefused("HistGradientBoosting with its own categories cannot be sealed; encode them in the pipeline")
    trees = [constant_tree(output, value) for output, value in enumerate(np.ravel(estimator._baseline_prediction))] + [
        _hist_tree(member.nodes, output) for stage in estimator._predictors for output, member in enumerate(stage)
    ]
    margins = graph.trees(matrix(graph, columns), trees, n_outputs)
    regression = "exp" if estimator.loss in ("poisson", "gamma") else "identity"
    return Ending(margins, _class_link(n_outputs) if is_classifier(estimator) else regression, splits_of(trees))


def _class_link(n_outputs: int) -> str:
    return "sigmoid" if n_outputs == 1 else "softmax64"


def _as_float32(graph: Graph, values: str) -> str:
    """scikit-learn's trees round every value to float32, and compare it with thresholds in float64."""
    return graph.cast(graph.cast(values, "FLOAT"), "DOUBLE")


def _tree(tree: Any, output: int, values: Any) -> DoubleTree:
    return DoubleTree(
        output=output,
        left=tree.children_left,
        right=tree.children_right,
        feature=tree.feature,
        threshold=tree.threshold,
        missing_left=tree.missing_go_to_left,
        value=values,
    )


def _hist_tree(nodes: Any, output: int) -> DoubleTree:
    return DoubleTree(
        output=output,
        left=np.where(nodes["is_leaf"], -1, nodes["left"].astype(np.int64)).tolist(),
        right=nodes["right"].astype(np.int64),
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        missing_left=nodes["missing_go_to_left"],
        value=nodes["value"],
    )


_WRITERS: Final[Mapping[type, Callable[[Graph, Any, Sequence[Column], int], Ending]]] = {
    LogisticRegression: _linear,
    LogisticRegressionCV: _linear,
    LinearRegression: _linear,
    Ridge: _linear,
    RidgeCV: _linear,
    Lasso: _linear,
    LassoCV: _linear,
    ElasticNet: _linear,
    ElasticNetCV: _linear,
    PoissonRegressor: _linear,
    GammaRegressor: _linear,
    DecisionTreeClassifier: _forest,
    DecisionTreeRegressor: _forest,
    RandomForestClassifier: _forest,
    RandomForestRegressor: _forest,
    ExtraTreesClassifier: _forest,
    ExtraTreesRegressor: _forest,
    GradientBoostingClassifier: _gradient_boosting,
    GradientBoostingRegressor: _gradient_boosting,
    HistGradientBoostingClassifier: _hist_gradient_boosting,
    HistGradientBoostingRegressor: _hist_gradient_boosting,
}
