"""scikit-learn's logistic regression for rows that are in a file: the same optimum, with a piece in memory at a time.

What scikit-learn has for them solves another problem: its SGDClassifier sets each class against the rest, and comes
near an optimum only with a learning rate that suits the rows. Here each step of L-BFGS is a pass over the file.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_limits

from smallset.pipeline import bulk, progress, provenance

Array = NDArray[np.float64]
Sums = tuple[float, Array, Array]  # a loss, and how it rises with the kernel (k, d) and with the intercept (k,)


@dataclass(frozen=True)
class Problem:
    """What is minimised: the mean loss of n rows, and the penalty on the coefficients for the standardised inputs."""

    inputs: bulk.Rows  # (n, d)
    targets: NDArray[np.int64]  # (n,) from 0 on
    weights: Array  # (n,) of sum 1
    scaler: StandardScaler
    penalty: float

    def loss(self, pool: ThreadPoolExecutor, flat: Array) -> tuple[float, Array]:
        """The value, and its slope, for coefficients and intercept (k, d + 1), k being 1 for two classes.

        The pieces are added in their order, so that it is the same for any number of threads.
        """
        table = flat.reshape(-1, self.inputs.shape[1] + 1)
        coefficients, intercept = table[:, :-1], table[:, -1]
        kernel = (coefficients / self.scaler.scale_).astype(np.float32)
        total, by_kernel, by_intercept = 0.0, np.zeros(coefficients.shape), np.zeros(intercept.shape)
        for one, other, third in pool.map(partial(self.part, kernel, intercept), bulk.pieces(self.inputs)):
            total, by_kernel, by_intercept = total + one, by_kernel + other, by_intercept + third
        slope = by_kernel / self.scaler.scale_ + self.penalty * coefficients
        return total + self.penalty / 2 * np.square(coefficients).sum(), np.column_stack([slope, by_intercept]).ravel()

    def part(self, kernel: NDArray[np.float32], intercept: Array, piece: slice) -> Sums:
        """What the rows of a piece add; the kernel takes the inputs less their mean."""
        inputs = bulk.read(self.inputs, piece) - self.scaler.mean_.astype(np.float32)
        target, weight = self.targets[piece], self.weights[piece]
        logits = inputs @ kernel.T + intercept
        if len(kernel) == 1:
            logits = np.pad(logits, ((0, 0), (1, 0)))  # of the first class; the loss knows differences alone
        logarithms = special.log_softmax(logits, axis=1)
        rows = np.arange(len(target))
        error = np.exp(logarithms)
        error[rows, target] -= 1
        error = (error * weight[:, None])[:, -len(kernel) :]
        return -float(weight @ logarithms[rows, target]), error.astype(np.float32).T @ inputs, error.sum(axis=0)


def regression(inputs: bulk.Rows, labels: NDArray[np.int64], found: LogisticRegression) -> Pipeline:
    """`found` as its own fit solves it on standardised inputs (n, d); sooner from coefficients that it has."""
    scaler = StandardScaler()
    for piece in bulk.pieces(inputs):
        scaler.partial_fit(bulk.read(inputs, piece))
    found.classes_, targets = np.unique(labels, return_inverse=True)
    weights = compute_sample_weight(found.class_weight, labels)
    problem = Problem(inputs, targets, weights / weights.sum(), scaler, 1 / (found.C * weights.sum()))
    high = 1 if len(found.classes_) == 2 else len(found.classes_)
    given = hasattr(found, "coef_")
    start = np.column_stack([found.coef_, found.intercept_]) if given else np.zeros((high, inputs.shape[1] + 1))
    best = minimum(problem, start, found)
    found.coef_, found.intercept_ = best[:, :-1], best[:, -1]
    return make_pipeline(scaler, found)


def minimum(problem: Problem, start: Array, how: LogisticRegression) -> Array:
    """Where the loss is least, (k, d + 1), by L-BFGS with scikit-learn's settings."""
    options = {"maxiter": how.max_iter, "maxls": 50, "gtol": how.tol, "ftol": 64 * np.finfo(float).eps}
    with (
        threadpool_limits(1, "blas"),  # its threads would wait for each other within each piece
        ThreadPoolExecutor(provenance.threads()) as pool,
        progress.bar(what=f"C {how.C:g}", unit=f" x {len(problem.targets):,} rows") as bar,
    ):

        def counted(flat: Array) -> tuple[float, Array]:
            bar.update()
            return problem.loss(pool, flat)

        best = optimize.minimize(counted, start.ravel(), method="L-BFGS-B", jac=True, options=options)
    how.n_iter_ = np.array([best.nit])
    if not best.success:
        warnings.warn(
            f"C {how.C:g}: no optimum after {best.nit} steps: {best.message}", ConvergenceWarning, stacklevel=2
        )
    return best.x.reshape(start.shape)
