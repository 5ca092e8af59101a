"""The demonstration's job: how good is one choice of hyper-parameters on scikit-learn's handwritten digits?

Submitted as it is, like any job file: `run(item)` is called on workers, once for each choice. The digits
come with scikit-learn, so nothing is fetched; the split and the folds are fixed, so every honest worker
gets the same number.
"""

from functools import lru_cache
from typing import Any

FOLDS = 5
TEST_SHARE = 0.25
SEED = 7


@lru_cache(maxsize=1)
def digits() -> tuple[Any, Any, Any, Any]:
    """Training images, test images, training labels, test labels. The search never sees the test part."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    return tuple(train_test_split(images, labels, test_size=TEST_SHARE, random_state=SEED, stratify=labels))


def run(item: dict[str, float]) -> dict[str, float]:
    """The mean accuracy over the folds of the training part."""
    from sklearn.model_selection import cross_val_score
    from sklearn.svm import SVC

    images, _, labels, _ = digits()
    scores = cross_val_score(SVC(C=item["C"], gamma=item["gamma"]), images, labels, cv=FOLDS)
    return {**item, "accuracy": float(scores.mean())}


def choices() -> list[dict[str, float]]:
    """Eight values of C with nine of gamma: 72 fits, each on five folds."""
    return [{"C": 2.0**c, "gamma": 10.0 ** (-g / 2)} for c in range(-3, 5) for g in range(4, 13)]


def true_accuracy(item: dict[str, float]) -> float:
    """On the test part, which no worker has used: trained on the whole training part."""
    from sklearn.svm import SVC

    training, test, training_labels, test_labels = digits()
    machine = SVC(C=item["C"], gamma=item["gamma"]).fit(training, training_labels)
    return float(machine.score(test, test_labels))
