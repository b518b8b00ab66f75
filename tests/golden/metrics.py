"""Makes tests/golden/metrics/*.json: logits with the metrics that scikit-learn gives for them.

Needs numpy, scipy, scikit-learn (1.9) and torch:  python tests/golden/metrics.py
"""

import json
import pathlib
import warnings

import numpy as np
import torch
from scipy.stats import binomtest
from sklearn import metrics

FOLDER = pathlib.Path(__file__).with_suffix("")


def ece(probabilities, truth, bins=15):
    """Guo et al. 2017: equal-width bins (low, high] over the top-1 confidence."""
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    edges = np.linspace(0, 1, bins + 1)
    total = 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = (predicted == truth)[inside].mean() - confidence[inside].mean()
            total += inside.mean() * abs(gap)
    return total


def golden(labels, truth, logits):
    logits = np.round(logits, 3).astype(np.float32)
    probabilities = torch.softmax(torch.from_numpy(logits).double(), 1).numpy()
    predicted, ids = probabilities.argmax(1), list(range(len(labels)))
    known = dict(labels=ids, zero_division=0)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truth, predicted, **known)
    hits = int((predicted == truth).sum())
    interval = binomtest(hits, len(truth)).proportion_ci(0.95, method="wilson")
    top3 = 1.0
    if len(labels) > 3:
        top3 = metrics.top_k_accuracy_score(truth, probabilities, k=3, labels=ids)
    report = dict(target_names=labels, **known)
    return {
        "truth": truth.tolist(),
        "logits": [[round(float(x), 3) for x in row] for row in logits],
        "evaluation": {
            "accuracy": metrics.accuracy_score(truth, predicted),
            "accuracy_interval": [interval.low, interval.high],
            "top3_accuracy": top3,
            "loss": metrics.log_loss(truth, probabilities, labels=ids),
            "macro_f1": metrics.f1_score(truth, predicted, average="macro", **known),
            "weighted_f1": metrics.f1_score(truth, predicted, average="weighted", **known),
            "ece": ece(probabilities, truth),
            "n": len(truth),
            "per_class": [
                {"class": c, "precision": p, "recall": r, "f1": f, "support": int(s)}
                for c, p, r, f, s in zip(labels, precision, recall, f1, support)
            ],
            "confusion": metrics.confusion_matrix(truth, predicted, labels=ids).tolist(),
            "labels": labels,
        },
        "report": metrics.classification_report(truth, predicted, **report),
        "report4": metrics.classification_report(truth, predicted, digits=4, **report),
    }


def scores(rng, truth, classes, signal):
    logits = rng.normal(size=(len(truth), classes))
    logits[np.arange(len(truth)), truth] += signal
    return logits


def cases():
    rng = np.random.default_rng(0)

    flowers = sorted("rose tulip sunflower daisy dandelion lily iris orchid poppy lavender".split())
    share = np.linspace(1, 4, 10)
    truth = rng.choice(10, 300, p=share / share.sum())
    yield "ten_flowers", flowers, truth, scores(rng, truth, 10, 2.2)

    truth = rng.choice([0, 1, 2], 60)
    logits = scores(rng, truth, 5, 1.5)
    logits[:, 2] -= 30
    yield "never_predicted_and_no_support", ["a", "bb", "ccc", "dddd", "none"], truth, logits

    truth = np.arange(3).repeat(7)
    yield "perfect", ["daisy", "rose", "tulip"], truth, scores(rng, truth, 3, 50.0)

    truth = rng.choice(2, 48)
    long = ["a name longer than the heading", "short"]
    yield "two_classes", long, truth, scores(rng, truth, 2, 1.0)

    truth = np.array([0, 1, 2, 2])
    yield "surely_wrong", ["a", "b", "c"], truth, scores(rng, np.array([1, 2, 0, 2]), 3, 25.0)

    truth = np.array([0] * 16 + [1] * 8)
    logits = np.zeros((24, 4))
    logits[:10, 0] = logits[10:16, 1] = logits[16:21, 1] = logits[21:, 3] = 1.25
    logits += np.arange(4) * 0.002
    yield "decimals_on_the_half", ["a", "b", "c", "d"], truth, logits


FOLDER.mkdir(exist_ok=True)
warnings.simplefilter("error")
for name, labels, truth, logits in cases():
    text = json.dumps(golden(labels, truth, logits), indent=None)
    (FOLDER / f"{name}.json").write_text(text + "\n")
