"""Losses and two real optimisation steps against the published training (golden section F)."""

import numpy as np
import pytest
import torch
from golden_weights import LR_SALT, assert_matches, hr_network, load_arrays, load_json, lr_network, rule_network
from torch import nn

from arseg.config import TrainConfig
from arseg.models.losses import nll, ohem_cross_entropy, presence_bce
from arseg.spec import NetworkSpec
from arseg.train.optimizer import Optimization, learning_rate, schedule_length
from arseg.train.phases import Phase1, Phase2

BATCH_SIZE = {"psp18": 2, "bise18": 4}
COMPONENTS = {
    "psp18": ("nll", "presence", "feature_similarity"),
    "bise18": ("ohem", "ohem_stride8", "ohem_stride16", "feature_similarity"),
}


@pytest.fixture(scope="module")
def losses_golden():
    return load_arrays("F_losses")


@pytest.mark.parametrize("case", ["hard", "topk", "mixed"])
def test_ohem(losses_golden, case):
    logits = torch.from_numpy(losses_golden[f"{case}_logits"]).requires_grad_()
    loss = ohem_cross_entropy(logits, torch.from_numpy(losses_golden[f"{case}_label"]))
    assert loss.item() == pytest.approx(float(losses_golden[f"{case}_loss"]), rel=1e-5)
    loss.backward()
    assert_matches(logits.grad, losses_golden, f"{case}_grad_logits", 1e-6)


@pytest.mark.parametrize("case", ["fewvalid", "allignored"])
@pytest.mark.parametrize("original", [True, False])
def test_ohem_without_a_pixel_to_take(losses_golden, case, original):
    logits = torch.from_numpy(losses_golden[f"{case}_logits"]).requires_grad_()
    loss = ohem_cross_entropy(logits, torch.from_numpy(losses_golden[f"{case}_label"]), original)
    assert np.isnan(losses_golden[f"{case}_loss"])
    assert torch.isnan(loss) if original else loss.item() == 0
    loss.backward()
    assert_matches(logits.grad, losses_golden, f"{case}_grad_logits", 0)


@pytest.mark.parametrize("original", [True, False])
def test_nll(losses_golden, original):
    log_probabilities = torch.from_numpy(losses_golden["nll_logp"]).requires_grad_()
    loss = nll(log_probabilities, torch.from_numpy(losses_golden["nll_label"]), original)
    assert loss.item() == pytest.approx(float(losses_golden["nll_loss"]), rel=1e-5)
    loss.backward()
    assert_matches(log_probabilities.grad, losses_golden, "nll_grad", 1e-6)


def test_presence(losses_golden):
    logits = torch.from_numpy(losses_golden["bce_logits"]).requires_grad_()
    # A label map that holds exactly the classes of the target, the rest ignored.
    labels = torch.full((2, 12, 1), 255, dtype=torch.uint8)
    image, present = np.nonzero(losses_golden["bce_target"])
    labels[image, present, 0] = torch.from_numpy(present).to(torch.uint8)
    loss = presence_bce(logits, labels)
    assert loss.item() == pytest.approx(float(losses_golden["bce_loss"]), rel=1e-5)
    loss.backward()
    assert_matches(logits.grad, losses_golden, "bce_grad", 1e-6)


class Steps:
    """Optimisation steps on the golden samples, one for each batch, and what there is to compare."""

    def __init__(self, network: nn.Module, loss_parts, batches: list, config: TrainConfig, t_max: int) -> None:
        for module in network.modules():
            if isinstance(module, nn.Dropout2d):
                module.p = 0.0  # the golden run has identities there
        network.train()
        start = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
        optimization = Optimization(network, config, t_max)
        self.losses, self.parts, self.learning_rates = [], [], []
        for step, batch in enumerate(batches):

            def measured(batch=batch, step=step):
                parts = loss_parts(batch)
                if step == 0:
                    self.statistics = {name: buffer.clone() for name, buffer in network.named_buffers()}
                return parts

            parts = optimization.step(step, measured)
            if step == 0:
                self.gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
                self.unchanged = [n for n, p in network.named_parameters() if torch.equal(p, start[n])]
            self.losses.append(parts.pop("loss").item())
            self.parts.append({name: part.item() for name, part in parts.items()})
            self.learning_rates.append(learning_rate(step, config.learning_rate, t_max, config.schedule))
        self.without_gradient = [n for n, _ in network.named_parameters() if n not in self.gradients]


def two_steps(network: nn.Module, loss_parts, num_samples: int, backbone: str) -> Steps:
    size = BATCH_SIZE[backbone]
    batches = [slice(first, first + size) for first in range(0, num_samples - size + 1, size)]
    return Steps(network, loss_parts, batches, TrainConfig(), schedule_length(1, num_samples, size))


def phase1_steps(backbone: str, job: str, dtype: torch.dtype) -> Steps:
    arrays = load_arrays(f"F_train_hr_{backbone}")
    network = rule_network(backbone, False, LR_SALT, calibration=None).to(dtype)
    image, labels = torch.from_numpy(arrays["x"]).to(dtype), torch.from_numpy(arrays["y"])
    percent = {"hr": 100, "lr": 50}[job]

    phase = Phase1(network, NetworkSpec(backbone, network.num_classes, scale_percent=percent), TrainConfig(), seed=0)

    def loss_parts(batch):
        return phase.batch_loss({"image": image[batch], "labels": labels[batch]})

    return two_steps(network, loss_parts, len(image), backbone)


def phase2_steps(backbone: str, job: str, dtype: torch.dtype) -> Steps:
    arrays = load_arrays(f"F_train_pair_{backbone}")
    hr, lr = hr_network(backbone).to(dtype), lr_network(backbone).to(dtype)
    config = TrainConfig(unfused_epochs=int(job == "stage1"), feature_similarity=job != "stage2_nofeat")
    phase = Phase2(hr, lr, NetworkSpec(backbone, lr.num_classes, fusion=True, scale_percent=50), config, seed=0)
    assert (
        torch.equal(hr.last_convolution.weight, lr.last_convolution.weight)
        is load_json(f"F_train_pair_{backbone}")[job]["decoder_equals_hr"]
    )
    tensors = {"image": arrays["x"], "keyframe": arrays["ref_x"], "motion_qpel": arrays["flow_quarterpel"]}
    tensors = {name: torch.from_numpy(array) for name, array in (tensors | {"labels": arrays["y"]}).items()}
    tensors |= {name: tensors[name].to(dtype) for name in ("image", "keyframe")}

    def loss_parts(batch):
        return phase.batch_loss({name: tensor[batch] for name, tensor in tensors.items()})

    return two_steps(lr, loss_parts, len(tensors["image"]), backbone)


def check_losses(steps: Steps, golden: dict, suffix: str, first: float, second: float) -> None:
    assert steps.losses[0] == pytest.approx(golden[f"loss_per_step{suffix}"][0], rel=first)
    assert steps.losses[1] == pytest.approx(golden[f"loss_per_step{suffix}"][1], rel=second)
    assert steps.learning_rates == pytest.approx(golden["learning_rate_used_per_step"])


def check_components(steps: Steps, golden: dict, backbone: str) -> None:
    components = golden["loss_components_in_call_order"]
    for step, parts in enumerate(steps.parts):
        assert tuple(parts) == COMPONENTS[backbone][: len(parts)]
        values = [value for _, value in components[step * len(parts) : (step + 1) * len(parts)]]
        np.testing.assert_allclose(list(parts.values()), values, rtol=2e-5 if step == 0 else 1e-2)


def check_gradients(
    steps: Steps, norms: dict[str, float], arrays, job: str = "", *, norm: float, near: float, deep: float
) -> None:
    assert set(steps.gradients) | set(steps.without_gradient) == set(norms)
    for name, gradient in steps.gradients.items():
        if norms[name] > 1e-4:  # biases in front of a batch norm have no gradient but rounding
            assert gradient.norm().item() == pytest.approx(norms[name], rel=norm), name
    prefix = f"{job}grad0_fp64__"
    stored = [key for key in arrays if key.startswith(prefix) and not key.endswith(("__flat_stride", "__shape"))]
    assert stored
    for key in stored:
        name = key.removeprefix(prefix)
        step = int(arrays.get(f"{key}__flat_stride", 1))
        flat = steps.gradients[name].flatten()[::step].double().numpy()
        wanted = arrays[key].ravel()
        if np.abs(wanted).max() < 1e-6:
            continue
        shallow = any(part in name for part in ("fuse_attention", "classifier", "conv_out16"))
        tolerance = (near if shallow else deep) * np.abs(wanted).max()
        np.testing.assert_allclose(flat, wanted, rtol=0, atol=tolerance, err_msg=name)


def check_statistics(steps: Steps, arrays, tolerance: float, job: str = "") -> None:
    prefix = f"{job}bn_after_step0_forward__"
    stored = [key for key in arrays if key.startswith(prefix)]
    assert stored
    for key in stored:
        statistic = steps.statistics[key.removeprefix(prefix)].double().numpy()
        np.testing.assert_allclose(statistic, arrays[key], rtol=tolerance, atol=tolerance, err_msg=key)


def check_parameters(steps: Steps, golden: dict) -> None:
    assert steps.without_gradient == golden["parameters_without_gradient"]
    assert steps.unchanged == golden["parameters_unchanged_by_step1"]


JOBS = [
    ("hr", "psp18", "hr"),
    ("hr", "psp18", "lr"),
    ("hr", "bise18", "hr"),
    ("pair", "psp18", "stage1"),
    ("pair", "psp18", "stage2"),
    ("pair", "psp18", "stage2_nofeat"),
    ("pair", "bise18", "stage1"),
    ("pair", "bise18", "stage2"),
]


@pytest.mark.parametrize(("phase", "backbone", "job"), JOBS)
def test_two_steps_in_single_precision(phase, backbone, job):
    golden = load_json(f"F_train_{phase}_{backbone}")[job]
    arrays = load_arrays(f"F_train_{phase}_{backbone}")
    steps = (phase1_steps if phase == "hr" else phase2_steps)(backbone, job, torch.float32)
    check_losses(steps, golden, "", first=2e-5, second=5e-3)
    check_components(steps, golden, backbone)
    check_parameters(steps, golden)
    check_gradients(steps, golden["grad_norm_step0"], arrays, f"{job}_", norm=2e-2, near=5e-4, deep=5e-2)
    check_statistics(steps, arrays, 1e-4, f"{job}_")


def test_two_steps_in_double_precision():
    job = "stage2"
    golden = load_json("F_train_pair_psp18")[job]
    arrays = load_arrays("F_train_pair_psp18")
    steps = phase2_steps("psp18", job, torch.float64)
    check_losses(steps, golden, "_fp64", first=1e-6, second=1e-3)
    check_gradients(steps, golden["grad_norm_step0_fp64"], arrays, f"{job}_", norm=1e-4, near=1e-4, deep=1e-4)
