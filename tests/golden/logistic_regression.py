#!/usr/bin/env python3
"""Logistic regression with smoothed labels, by scikit-learn: the values that `src/training/solver.rs`
is tested with. Needs numpy and scikit-learn 1.7 or later.

Smoothed labels are weighted samples: each sample once for each class. scikit-learn minimises
C * sum(weight * loss) + |W|^2 / 2, so that weight decay is 1 / (C * sum(weight)).
"""

import numpy as np
from sklearn.linear_model import LogisticRegression

SAMPLES, FEATURES, CLASSES = 24, 3, 3
WEIGHT_DECAY = 0.05

at = np.arange(SAMPLES * FEATURES, dtype=np.float64).reshape(SAMPLES, FEATURES)
labels = np.arange(SAMPLES) % CLASSES
x = 2.0 + np.sin(1.7 * at) + 0.5 * (labels[:, None] == np.arange(FEATURES))

for smoothing, class_weights in ((0.0, [1, 1, 1]), (0.1, [1, 1, 1]), (0.1, [2, 0.75, 0.5])):
    repeated = np.repeat(x, CLASSES, axis=0)
    classes = np.tile(np.arange(CLASSES), SAMPLES)
    of_samples = np.array(class_weights)[labels, None]
    weights = (of_samples * (np.eye(CLASSES)[labels] * (1 - smoothing) + smoothing / CLASSES)).ravel()
    keep = weights > 0
    model = LogisticRegression(C=1 / (WEIGHT_DECAY * weights.sum()), tol=1e-10, max_iter=10_000)
    model.fit(repeated[keep], classes[keep], sample_weight=weights[keep])
    bias = model.intercept_ - model.intercept_.mean()
    print(smoothing, class_weights, np.round(model.coef_, 6).tolist(), np.round(bias, 6).tolist())
