"""The losses of both phases, as pure functions (docs/method.md, 'Losses').

Each architecture's loss comes as named parts, already weighted, whose sum is the loss: what is logged is then
what is optimised. Score maps are resized to the labels' size here.

Where several processes train one batch (`arseg.models.processes`), means over pixels are means over all of its pixels,
so that the average of the processes' losses and gradients is that of one process.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from arseg.config import IGNORE_INDEX
from arseg.models.network import Prediction
from arseg.models.processes import gather_over_processes, num_processes, sum_over_processes
from arseg.models.resize import resize

OHEM_THRESHOLD = -math.log(0.7)
"""Pixels whose true class got a probability below 0.7 are hard."""
OHEM_MIN_FRACTION = 16
"""At least one in so many valid pixels is kept."""
AUXILIARY_WEIGHT = 0.4
"""Weight of the auxiliary head in `auxiliary_cross_entropy_loss`, `small_loss` and `pidnet_loss`."""
PIDNET_OHEM_THRESHOLD = 0.9
"""In `pidnet_loss`, pixels whose true class got a lower probability are hard."""
PIDNET_OHEM_MIN_KEPT = 131072
"""In `pidnet_loss`, at least so many pixels of a batch are kept."""
BOUNDARY_WEIGHT = 20
"""Weight of the boundary branch's own loss in `pidnet_loss`."""
BOUNDARY_THRESHOLD = 0.8
"""In `pidnet_loss`, pixels with a higher probability of a boundary are judged a second time."""


def nll(log_probabilities: Tensor, labels: Tensor, original: bool = False) -> Tensor:
    """Mean negative log-likelihood of the valid pixels.

    Parameters
    ----------
    log_probabilities : Tensor, shape (N, K, H, W)
        Log-probabilities; after a resize they need not be normalised.
    labels : Tensor of integers, shape (N, H, W)
        Class indices; 255 is ignored.
    original : bool
        Give NaN where no pixel is valid, as the published programs do, instead of zero.

    Returns
    -------
    loss : Tensor, shape ()
    """
    labels = labels.long()
    num_valid = sum_over_processes((labels != IGNORE_INDEX).sum())
    total = F.nll_loss(log_probabilities, labels, ignore_index=IGNORE_INDEX, reduction="sum")
    return total * num_processes() / (num_valid if original else num_valid.clamp(min=1))


def cross_entropy(logits: Tensor, labels: Tensor, original: bool = False) -> Tensor:
    """Mean cross-entropy of the valid pixels; parameters as for `nll`, but of logits."""
    return nll(F.log_softmax(logits, dim=1), labels, original)


def class_presence(labels: Tensor, num_classes: int) -> Tensor:
    """Say which classes occur in each label map.

    Parameters
    ----------
    labels : Tensor of integers, shape (N, H, W)
        Class indices; 255 is ignored.
    num_classes : int
        Number K of classes.

    Returns
    -------
    presence : Tensor of float32, shape (N, K)
        1 where the class occurs in the map, else 0.
    """
    labels = labels.long().flatten(1)
    ignored_as_last = torch.where(labels == IGNORE_INDEX, num_classes, labels)
    presence = torch.zeros(len(labels), num_classes + 1, device=labels.device)
    return presence.scatter_(1, ignored_as_last, 1.0)[:, :num_classes]


def presence_bce(presence_logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy of image-level presence logits (N, K) against the classes in `labels`."""
    target = class_presence(labels, presence_logits.shape[1])
    return F.binary_cross_entropy_with_logits(presence_logits, target.to(presence_logits.dtype))


def ohem_cross_entropy(logits: Tensor, labels: Tensor, original: bool = False) -> Tensor:
    """Cross-entropy of the hard pixels: online hard example mining.

    Hard are the pixels whose loss exceeds -ln 0.7. If they are fewer than a sixteenth of the valid pixels of
    the batch, that many with the largest losses are taken instead.

    Parameters
    ----------
    logits : Tensor, shape (N, K, H, W)
        Logits.
    labels : Tensor of integers, shape (N, H, W)
        Class indices; 255 is ignored.
    original : bool
        Give NaN where no pixel is taken (none hard, fewer than 16 valid), as the published programs do,
        instead of zero with zero gradient.

    Returns
    -------
    loss : Tensor, shape ()
        Mean over the pixels taken.
    """
    labels = labels.long()
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none").flatten()
    losses = gather_over_processes(losses)
    fewest = int(sum_over_processes((labels != IGNORE_INDEX).sum())) // OHEM_MIN_FRACTION
    taken = losses[losses > OHEM_THRESHOLD]
    if taken.numel() < fewest:
        taken = losses.topk(fewest).values
    if original:
        return taken.mean()
    return taken.sum() / max(taken.numel(), 1)


def feature_similarity(feature: Tensor, hr_feature: Tensor) -> Tensor:
    """Mean squared error between a feature, resized to the HR feature's size, and the HR feature (FST).

    Parameters
    ----------
    feature : Tensor, shape (N, C, h, w)
        LR branch's feature, fused or plain.
    hr_feature : Tensor, shape (N, C, H, W)
        HR branch's feature of the same frame.

    Returns
    -------
    loss : Tensor, shape ()
    """
    height, width = hr_feature.shape[-2:]
    return F.mse_loss(resize(feature, (height, width)), hr_feature)


def _at_label_size(scores: Tensor, labels: Tensor) -> Tensor:
    height, width = labels.shape[-2:]
    return resize(scores, (height, width))


def pspnet_loss(prediction: Prediction, labels: Tensor, original: bool = False) -> dict[str, Tensor]:
    """Loss of the CamVid PSPNet: NLL plus class presence.

    Parameters
    ----------
    prediction : Prediction
        Log-probabilities and presence logits.
    labels : Tensor of integers, shape (N, H, W)
        Class indices; 255 is ignored.
    original : bool
        Restore what the published losses do wrong.

    Returns
    -------
    parts : dict of str to Tensor
        Named parts whose sum is the loss.
    """
    (presence_logits,) = prediction.auxiliary
    return {
        "nll": nll(_at_label_size(prediction.scores, labels), labels, original),
        "presence": presence_bce(presence_logits, labels),
    }


def auxiliary_cross_entropy_loss(prediction: Prediction, labels: Tensor, original: bool = False) -> dict[str, Tensor]:
    """Loss of the Cityscapes PSPNet and of `tiny`: cross-entropy on both outputs; as `pspnet_loss` otherwise."""
    (auxiliary,) = prediction.auxiliary
    auxiliary_loss = cross_entropy(_at_label_size(auxiliary, labels), labels, original)
    return {
        "cross_entropy": cross_entropy(_at_label_size(prediction.scores, labels), labels, original),
        "auxiliary": AUXILIARY_WEIGHT * auxiliary_loss,
    }


def bisenet_loss(prediction: Prediction, labels: Tensor, original: bool = False) -> dict[str, Tensor]:
    """Loss of BiSeNet: OHEM cross-entropy on all three outputs; as `pspnet_loss` otherwise."""
    stride8, stride16 = prediction.auxiliary
    outputs = {"ohem": prediction.scores, "ohem_stride8": stride8, "ohem_stride16": stride16}
    return {
        name: ohem_cross_entropy(_at_label_size(scores, labels), labels, original) for name, scores in outputs.items()
    }


def small_loss(prediction: Prediction, labels: Tensor, original: bool = False) -> dict[str, Tensor]:
    """Loss of `small`: OHEM cross-entropy of the scores, and cross-entropy of the auxiliary ones where they lie.

    The nearest labels do for the auxiliary scores: on a CPU, resizing scores to all labels, and back, costs more than a
    small network. As `pspnet_loss` otherwise.
    """
    (auxiliary,) = prediction.auxiliary
    rows, columns = (
        torch.linspace(0, many - 1, few, device=labels.device).round().long()
        for few, many in zip(auxiliary.shape[-2:], labels.shape[-2:], strict=True)
    )
    return {
        "ohem": ohem_cross_entropy(_at_label_size(prediction.scores, labels), labels, original),
        "auxiliary": AUXILIARY_WEIGHT * cross_entropy(auxiliary, labels[:, rows[:, None], columns], original),
    }


def pidnet_loss(
    prediction: Prediction,
    labels: Tensor,
    original: bool = False,
    *,
    edges: Tensor,
    class_weights: Tensor | None = None,
    threshold: float = PIDNET_OHEM_THRESHOLD,
    min_kept: int = PIDNET_OHEM_MIN_KEPT,
) -> dict[str, Tensor]:
    """Loss of PIDNet: detail branch, OHEM of the scores, OHEM of them at predicted boundaries, and boundary branch.

    Parameters
    ----------
    prediction : Prediction
        Logits, those of the detail branch, and those of the boundary branch.
    labels : Tensor of integers, shape (N, H, W)
        Class indices; 255 is ignored.
    original : bool
        Changes nothing: the published program fails where there is no pixel to average.
    edges : Tensor of integers, shape (N, H, W)
        1 where a boundary between classes is, else 0 (`arseg.data.edges`).
    class_weights : Tensor, shape (K,), optional
        What cross-entropies are multiplied by, which is not divided out of their means; one for all by default.
    threshold, min_kept : float, int
        Of the OHEM.

    Returns
    -------
    parts : dict of str to Tensor
        Named parts whose sum is the loss.
    """
    detail, boundary = prediction.auxiliary
    # Of all pixels, ignored ones included, as published.
    auxiliary = _weighted_cross_entropy(_at_label_size(detail, labels), labels, class_weights).mean()
    scores = _at_label_size(prediction.scores, labels)
    boundary = _at_label_size(boundary, labels).squeeze(1)
    at_boundaries = torch.where(boundary.detach().sigmoid() > BOUNDARY_THRESHOLD, labels, IGNORE_INDEX)
    ohem, ohem_boundary = (
        _probability_ohem(scores, chosen, class_weights, threshold, min_kept) for chosen in (labels, at_boundaries)
    )
    return {
        "auxiliary": AUXILIARY_WEIGHT * auxiliary,
        "ohem": ohem,
        "ohem_boundary": ohem_boundary,
        "boundary": BOUNDARY_WEIGHT * balanced_bce(boundary, edges),
    }


def _weighted_cross_entropy(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the cross-entropy of each pixel, shape (N, H, W); zero where it is ignored."""
    weights = None if class_weights is None else class_weights.to(logits)
    return F.cross_entropy(logits, labels.long(), weights, ignore_index=IGNORE_INDEX, reduction="none")


def _probability_ohem(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None, threshold: float, min_kept: int
) -> Tensor:
    """Average over the pixels whose true class got too low a probability; zero where no pixel is valid.

    If they are fewer than `min_kept`, that many are taken: those with the lowest probabilities.
    """
    valid = labels != IGNORE_INDEX
    losses = gather_over_processes(_weighted_cross_entropy(logits, labels, class_weights)[valid])
    with torch.no_grad():
        true_class = torch.where(valid, labels, 0).long().unsqueeze(1)
        probabilities = F.softmax(logits, dim=1).gather(1, true_class).squeeze(1)[valid]
        probabilities = gather_over_processes(probabilities)
        if len(probabilities) and int((probabilities <= threshold).sum()) <= min_kept:
            rank = min(min_kept, len(probabilities) - 1)
            threshold = max(threshold, float(probabilities.topk(rank + 1, largest=False, sorted=False).values.max()))
        taken = probabilities < threshold
    return losses[taken].sum() / taken.sum().clamp(min=1)


def balanced_bce(logits: Tensor, edges: Tensor) -> Tensor:
    """Mean binary cross-entropy of boundary logits (N, H, W), in which both kinds of pixels weigh the same in sum."""
    is_edge = edges > 0
    total = edges.numel() * num_processes()
    num_edges = sum_over_processes(is_edge.sum())
    weights = torch.where(is_edge, (total - num_edges) / total, num_edges / total)
    return F.binary_cross_entropy_with_logits(logits, edges.to(logits.dtype), weights.to(logits.dtype))
