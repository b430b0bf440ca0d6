"""What a fold pays for its clips. Pure; not for metrics.

Every value has a fold axis and no fold's value depends on another's. Letters in
`architecture.py`; N is all clips.
"""

from __future__ import annotations

import torch
from torch import Tensor


def class_weights(label: Tensor, training: Tensor, classes: int, *, balanced: bool) -> Tensor:
    """What a clip of each class weighs in each fold, [F,C], from label [N] and training [F,N].

    Balanced: clips / (classes present * clips of the class), counted among the fold's training
    clips, so that their mean weight is 1; a class that a fold has not seen weighs 0.
    """
    if not balanced:
        return torch.ones(len(training), classes, device=label.device)
    counts = training.float() @ torch.nn.functional.one_hot(label, classes).float()
    present = (counts > 0).sum(1, keepdim=True).clamp(min=1)
    weights = counts.sum(1, keepdim=True) / (present * counts.clamp(min=1))
    return weights * (counts > 0)


def clip_losses(
    logits: Tensor, label: Tensor, *, smoothing: float = 0.0, gamma: float = 0.0
) -> Tensor:
    """Loss of each clip in each fold, [F,B], from logits [F,B,C] and label [B].

    Cross-entropy against `1 - s` on the label plus s/C on every class (Szegedy et al. 2016,
    s = `smoothing`); focal: each class's term times (1 - p)^gamma (Lin et al. 2017).
    """
    classes = logits.shape[-1]
    target = torch.nn.functional.one_hot(label, classes).to(logits.dtype)
    target = target * (1 - smoothing) + smoothing / classes
    log_p = logits.log_softmax(-1)
    if gamma:
        # A certain answer has 1 - p = 0 and there the root of gamma < 1 has no slope.
        target = target * (1 - log_p.exp()).clamp(min=1e-6) ** gamma
    return -(target * log_p).sum(-1)


def doubly_stochastic(alpha: Tensor) -> Tensor:
    """The penalty [F,B] of maps [F,B,K,R]: sum over r of (c - sum over t of alpha[t,r])^2.

    Xu et al. 2015, equation 14, with c = K/R: the share of attention that a region gets when all
    get the same. (The paper's c = 1 asks for a total of R where only K can be given.)
    """
    fair = alpha.shape[2] / alpha.shape[3]
    return (fair - alpha.sum(2)).square().sum(-1)
