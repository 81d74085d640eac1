"""PIDNet-S against the public program: outputs, losses, boundaries and training (data/pidnet/README.md)."""

import numpy as np
import pytest
import torch
from golden_weights import PIDNET, assert_matches, load_arrays, load_json, rule_network
from test_train_step_golden import Steps, check_gradients, check_statistics

from arseg.config import TrainConfig
from arseg.data.edges import label_edges
from arseg.data.pidnet_augmentation import augment_as_pidnet
from arseg.data.transforms import PairSample
from arseg.evaluate.complexity import count_macs
from arseg.models.losses import pidnet_loss
from arseg.models.macs import counting_macs
from arseg.models.network import Prediction
from arseg.models.pixels import normalize
from arseg.models.registry import build_network
from arseg.spec import NORMALIZATIONS, NetworkSpec
from arseg.train.phases import Phase1

MODULES = load_arrays("B_pidnet-s_modules", PIDNET)
LOSSES = load_arrays("F_pidnet-s_losses", PIDNET)
CITYSCAPES_WEIGHTS = torch.from_numpy(LOSSES["city_class_weight"])
PARTS = {"auxiliary": "aux", "ohem": "ohem", "ohem_boundary": "sb", "boundary": "bd"}
OUTPUTS = {"aux": "out_p", "ohem": "out_i", "sb": "out_i", "bd": "out_d"}


def network_of(num_classes=19, calibration: str | None = "pidnet-s__hr"):
    return rule_network("pidnet-s", False, "", calibration, num_classes, PIDNET)


@pytest.mark.parametrize("num_classes", [19, 11])
def test_state_dict_lists_the_public_entries_in_order(num_classes):
    keys = load_json(f"keys/pidnet-s-{num_classes}", PIDNET)
    network = build_network("pidnet-s", num_classes, fusion=False)
    own = [(n, list(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in network.state_dict().items()]
    assert own == [(entry["name"], entry["shape"], entry["dtype"]) for entry in keys["entries"]]
    assert sum(parameter.numel() for parameter in network.parameters()) == keys["n_parameters_unique"]


@pytest.fixture(scope="module")
def outputs():
    return load_arrays("A_pidnet-s_HR", PIDNET)


@pytest.mark.parametrize(
    ("case", "tolerance", "auxiliary_tolerance", "undecided"),
    [
        *((case, 1e-3, 5e-4, 2e-3) for case in ("c0", "c1", "c2", "cam", "ext")),
        ("raw", 5e-3, 1e-3, 3e-2),
        ("big", 1.5e-2, 5e-3, 3e-2),
    ],
)
def test_plain_pass(outputs, case, tolerance, auxiliary_tolerance, undecided):
    calibration = None if case == "raw" else "pidnet-s__hr"
    network = network_of(int(outputs[f"{case}_classes"]), calibration)
    image = torch.from_numpy(outputs[f"{case}_x"])
    taps = {key.split("_tap_")[1].removesuffix("__stats") for key in outputs if key.startswith(f"{case}_tap_")}
    taps = {tap for tap in taps if not tap.endswith("__shape")}
    found = {}
    for tap in taps:
        network.get_submodule(tap).register_forward_hook(
            lambda _module, _inputs, output, tap=tap: found.update({tap: output.clone()})
        )
    with torch.inference_mode():
        prediction = network(image)
        assert_matches(network.classify(prediction.feature), outputs, f"{case}_logits", tolerance)
    assert_matches(prediction.feature, outputs, f"{case}_p", tolerance)
    assert_matches(prediction.scores, outputs, f"{case}_up", tolerance)
    for name, output in zip(("aux_p", "aux_d"), prediction.auxiliary, strict=True):
        assert_matches(output, outputs, f"{case}_{name}", auxiliary_tolerance)
    for tap, output in found.items():
        assert_matches(output, outputs, f"{case}_tap_{tap}", tolerance)
    labels, suffix = prediction.scores.argmax(1).numpy(), ""
    if f"{case}_pred" not in outputs:
        labels, suffix = labels[tuple(slice(None, None, step) for step in outputs[f"{case}_pred__strides"])], "__sub"
    decided = outputs[f"{case}_margin_f16{suffix}"] > undecided
    assert decided.mean() > 0.95
    np.testing.assert_array_equal(labels[decided], outputs[f"{case}_pred{suffix}"][decided])


@pytest.mark.parametrize(("module", "inputs"), [("spp", "x"), ("pag3", "xy"), ("dfm", "pid")])
def test_module(module, inputs):
    network = network_of(calibration=None)
    with torch.inference_mode():
        output = network.get_submodule(module)(*(torch.from_numpy(MODULES[f"{module}_{name}"]) for name in inputs))
    assert_matches(output, MODULES, f"{module}_out", 5e-5)


@pytest.mark.parametrize(("size", "gmacs"), [((19, 1024, 2048), 94.39 / 2), ((11, 720, 960), 31.24 / 2)])
def test_costs_without_auxiliary_heads(size, gmacs):
    with torch.device("meta"):
        network = build_network("pidnet-s", size[0], fusion=False).eval()
        network.runs_auxiliary = False
        with counting_macs(network) as count:
            network(torch.empty(1, 3, *size[1:]))
    assert count.total == pytest.approx(gmacs * 1e9, abs=0.0025e9)


@pytest.mark.parametrize(("size", "gmacs"), [((19, 1024, 2048), 100.59 / 2), ((11, 720, 960), 33.27 / 2)])
def test_costs_of_a_frame(size, gmacs):
    cost = count_macs("pidnet-s", *size, mode="hr", scale_percent=100, device="meta")
    assert cost.total == pytest.approx(gmacs * 1e9, abs=0.0025e9)


CASES = ["city", "camvid", "thr", "kept", "same", "noedge", "nobd", "allignored"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients(case, dtype):
    detail, scores, boundary = (
        torch.from_numpy(LOSSES[f"{case}_out_{name}"]).to(dtype).requires_grad_() for name in "pid"
    )
    parts = pidnet_loss(
        Prediction(scores, scores, (detail, boundary)),
        torch.from_numpy(LOSSES[f"{case}_label"]),
        edges=torch.from_numpy(LOSSES[f"{case}_edge"]),
        class_weights=torch.from_numpy(LOSSES[f"{case}_class_weight"]),
        threshold=float(LOSSES[f"{case}_thres"]),
        min_kept=int(LOSSES[f"{case}_min_kept"]),
    )
    double = dtype == torch.float64
    suffix, tolerance = ("_fp64", 1e-9) if double else ("", 2e-6)
    for (name, part), output in zip(parts.items(), (detail, scores, scores, boundary), strict=True):
        key = PARTS[name]
        (gradient,) = torch.autograd.grad(part, output, retain_graph=True)
        if f"{case}_raises_{key}" in LOSSES:  # the public program fails where no pixel is valid
            assert part.item() == 0
            assert not gradient.any()
            continue
        assert part.item() == pytest.approx(float(LOSSES[f"{case}_loss_{key}{suffix}"]), rel=tolerance)
        largest = gradient.abs().max().item()
        assert_matches(gradient, LOSSES, f"{case}_grad_{key}_{OUTPUTS[key]}", 1e-5 * largest)
    if f"{case}_loss_total" in LOSSES:
        assert sum(parts.values()).item() == pytest.approx(float(LOSSES[f"{case}_loss_total{suffix}"]), rel=tolerance)


@pytest.mark.parametrize("example", ["edge0", "edge1", "edge2"])
def test_edges(example):
    labels = LOSSES[f"{example}_label"]
    np.testing.assert_array_equal(label_edges(labels), LOSSES[f"{example}_edge_plain"])
    np.testing.assert_array_equal(label_edges(labels, margin=6), LOSSES[f"{example}_edge_padded"])


class Draws:
    """Gives the golden choices: the numbers of options, and offsets."""

    def __init__(self, scale, left, top, flip):
        self.choices, self.offsets = [scale, flip], [left, top]

    def choice(self, options):
        return options[self.choices.pop(0)]

    def randint(self, first, last):
        offset = self.offsets.pop(0)
        assert first <= offset <= last
        return offset


@pytest.mark.parametrize("case", ["city_half", "city_one", "city_max", "camvid_08", "camvid_17"])
def test_augmentation(case):
    golden = load_arrays("G_pidnet_augment", PIDNET)
    cityscapes = case.startswith("city")
    image = golden[f"{case}_image_bgr"][..., ::-1].copy() if cityscapes else golden[f"{case}_image_rgb"]
    height, width = golden[f"{case}_crop_hw"]
    config = TrainConfig(crop=f"{width}x{height}", random_scales=tuple(0.5 + k / 10 for k in range(17)))
    labels = golden[f"{case}_label"]
    sample = PairSample(image, None, labels, None, label_edges(labels, margin=6 if cityscapes else 0))
    augmented = augment_as_pidnet(sample, Draws(*golden[f"{case}_draws"]), config)
    np.testing.assert_array_equal(augmented.labels, golden[f"{case}_out_label"])
    np.testing.assert_array_equal(augmented.edges, golden[f"{case}_out_edge"])
    normalized = normalize(torch.from_numpy(augmented.image)[None], NORMALIZATIONS["imagenet"])[0]
    levels = torch.tensor(NORMALIZATIONS["imagenet"].std).view(3, 1, 1) * 255
    difference = (normalized - torch.from_numpy(golden[f"{case}_out_image"])) * levels
    assert difference.abs().max() < 1.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_three_training_steps(dtype):
    arrays, double = load_arrays("F_pidnet-s_train", PIDNET), dtype == torch.float64
    golden = load_json("F_pidnet-s_train", PIDNET)["fp64" if double else "fp32"]
    network = network_of(calibration=None).to(dtype).train()
    weights = tuple(CITYSCAPES_WEIGHTS.tolist())
    config = TrainConfig(optimizer="sgd", learning_rate=0.01, schedule="poly", class_weights=weights)
    phase = Phase1(network, NetworkSpec("pidnet-s", network.num_classes), config, seed=0)

    def loss_parts(step):
        image, labels, edges = (torch.from_numpy(arrays[f"step{step}_{name}"]) for name in ("x", "label", "edge"))
        return phase.batch_loss({"image": image.to(dtype), "labels": labels, "edges": edges})

    steps = Steps(network, loss_parts, range(3), config, t_max=3)
    assert steps.learning_rates == pytest.approx(golden["lr_used"], rel=1e-12)
    parts = steps.parts[0]
    part_sums = (parts["auxiliary"] + parts["ohem"], parts["boundary"], parts["ohem_boundary"])
    wanted = (golden[name][0] for name in ("semantic_incl_aux", "boundary", "boundary_aware"))
    assert part_sums == pytest.approx(tuple(wanted), rel=1e-9 if double else 1e-5)
    tolerances = [1e-9] * 3 if double else [5e-6, 5e-3, 3e-2]
    for loss, value, tolerance in zip(steps.losses, golden["total"], tolerances, strict=True):
        assert loss == pytest.approx(value, rel=tolerance)
    largest = 1e-6 if double else 5e-2
    check_gradients(steps, golden["grad_norm_step0"], arrays, norm=largest, near=largest, deep=largest)
    check_statistics(steps, arrays, 2e-5)
    if double:
        for name, parameter in network.named_parameters():
            assert parameter.norm().item() == pytest.approx(golden["param_norm_after"][name], rel=1e-6), name
