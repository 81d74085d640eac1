"""Networks against the published programs' outputs (golden sections A, B and E)."""

import numpy as np
import pytest
import torch
from golden_weights import (
    DATA,
    HR_SALT,
    assert_matches,
    hr_network,
    load_arrays,
    load_json,
    lr_network,
    rule_network,
    rule_tensor,
)

from arseg.ar import AlteringResolution, ConstantResolution
from arseg.models.inference import warp_keyframe
from arseg.models.network import Encoded, SegmentationNetwork
from arseg.models.registry import build_network
from arseg.models.resize import resize
from arseg.models.warp import prepare_motion

CALIBRATED = 5e-4
OUTPUT_NAMES = {"psp18": ("logp", ("cls",)), "bise18": ("logits", ("out16", "out32"))}


@pytest.mark.parametrize("path", sorted((DATA / "keys").glob("*.json")), ids=lambda path: path.stem)
def test_state_dict_lists_the_published_entries_in_order(path):
    keys = load_json(f"keys/{path.stem}")
    dataset, backbone, *form = path.stem.split("-")
    name = "psp18-cityscapes" if (dataset, backbone) == ("cityscapes", "psp18") else backbone
    with torch.device("meta"):
        network = build_network(name, 12 if dataset == "camvid" else 19, fusion=form == ["fuse"])
    own = network.state_dict()
    assert [(e["name"], e["shape"]) for e in keys["entries"]] == [(n, list(t.shape)) for n, t in own.items()]
    assert sum(p.numel() for p in network.parameters()) == keys["n_parameters_unique"]
    state = dict(network.named_parameters(remove_duplicate=False)) | dict(network.named_buffers(remove_duplicate=False))
    shared = [[n for n in state if state[n] is tensor] for tensor in set(state.values())]
    assert sorted(sorted(group) for group in shared if len(group) > 1) == sorted(
        sorted(group) for group in keys["shared_storage_groups"]
    )


def test_weight_rule_makes_the_published_numbers():
    spots = load_json("weight_rule_spot")
    assert len(spots) > 5
    for key, spot in spots.items():
        tensor = rule_tensor(key.removeprefix(spot["salt"]), tuple(spot["shape"]), spot["salt"]).double()
        np.testing.assert_allclose(tensor.flatten()[:4], spot["first4"], rtol=1e-7)
        np.testing.assert_allclose(tensor.abs().sum(), spot["abs_sum"], rtol=1e-7)


@pytest.fixture(scope="module", params=["psp18", "bise18"])
def backbone(request):
    return request.param


@pytest.fixture(scope="module")
def hr(backbone):
    return hr_network(backbone)


@pytest.fixture(scope="module")
def lr(backbone):
    return lr_network(backbone)


def check_plain_pass(network: SegmentationNetwork, golden, backbone, case, tolerance):
    with torch.inference_mode():
        prediction = network(torch.from_numpy(golden[f"{case}_x"]))
    scores, auxiliary = OUTPUT_NAMES[backbone]
    assert_matches(prediction.scores, golden, f"{case}_{scores}", tolerance)
    assert_matches(prediction.feature, golden, f"{case}_p", tolerance)
    for name, output in zip(auxiliary, prediction.auxiliary, strict=True):
        assert_matches(output, golden, f"{case}_{name}", tolerance)


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_plain_pass_of_the_hr_branch(hr, backbone, case):
    check_plain_pass(hr, load_arrays(f"A_camvid-{backbone}_HR"), backbone, case, CALIBRATED)


def test_plain_pass_without_calibration(backbone):
    network = rule_network(backbone, False, HR_SALT, calibration=None)
    tolerance = {"psp18": 5e-3, "bise18": 2e-3}[backbone]
    check_plain_pass(network, load_arrays(f"A_camvid-{backbone}_HR"), backbone, "raw", tolerance)


@pytest.mark.parametrize(
    ("case", "calibration", "tolerance"),
    [
        ("c0", "cityscapes-psp18-fuse__hr", CALIBRATED),
        ("c1", "cityscapes-psp18-fuse__hr", CALIBRATED),
        ("raw", None, 5e-3),
    ],
)
def test_plain_pass_of_the_cityscapes_pspnet(case, calibration, tolerance):
    # Its dilations, which neither keys nor shapes nor costs depend on, are pinned here alone.
    golden = load_arrays("A_cityscapes-psp18-fuse_HR")
    network = rule_network("psp18-cityscapes", True, "h1:", calibration, num_classes=19)
    stage3 = []
    network.layer3.register_forward_hook(lambda _module, _inputs, output: stage3.append(output))
    image = torch.from_numpy(golden[f"{case}_x"])
    with torch.inference_mode():
        prediction = network(image)
        auxiliary = resize(network.aux(stage3[0]), tuple(image.shape[-2:]))  # left out by the fused form's own pass
    assert_matches(prediction.scores, golden, f"{case}_logits", tolerance)
    assert_matches(prediction.feature, golden, f"{case}_p", tolerance)
    assert_matches(auxiliary, golden, f"{case}_aux", tolerance)


def test_plain_pass_of_the_lr_branch(lr, backbone):
    check_plain_pass(lr, load_arrays(f"A_camvid-{backbone}_AR"), backbone, "normal", CALIBRATED)


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_fused_pass(lr, backbone, case):
    golden = load_arrays(f"A_camvid-{backbone}_AR")
    with torch.inference_mode():
        encoded: Encoded = lr.encode(torch.from_numpy(golden[f"{case}_x_lr"]))
        fused = lr.fuse(torch.from_numpy(golden[f"{case}_ref_p"]), encoded.feature)
        scores = lr.classify(fused)
    score_name, auxiliary = OUTPUT_NAMES[backbone]
    assert_matches(encoded.feature, golden, f"{case}_phase1_p_lr", CALIBRATED)
    for name, output in zip(auxiliary, encoded.auxiliary, strict=True):
        assert_matches(output, golden, f"{case}_phase1_{name}", CALIBRATED)
    assert_matches(fused, golden, f"{case}_phase2_p", CALIBRATED)
    assert_matches(scores, golden, f"{case}_phase2_{score_name}", CALIBRATED)


@pytest.fixture(scope="module")
def evaluation():
    return load_arrays("E_camvid-psp18")


@pytest.fixture(scope="module")
def branches():
    return hr_network("psp18"), lr_network("psp18")


def check_scores(scores, golden, case):
    assert_matches(scores, golden, f"{case}_final_logits", 2e-3)
    decided = golden[f"{case}_margin_f16"] > 5e-3
    assert decided.mean() > 0.95
    np.testing.assert_array_equal(scores.argmax(1).numpy()[decided], golden[f"{case}_pred"][decided])


@pytest.mark.parametrize(("case", "branch"), [("hr10", 0), ("hr05", 0), ("lr05", 1)])
def test_constant_protocol(evaluation, branches, case, branch):
    image = torch.from_numpy(evaluation[f"{evaluation[f'{case}_inputs']}__img"])
    percent = round(100 * float(evaluation[f"{case}_scale"]))
    with torch.inference_mode():
        scores = ConstantResolution(branches[branch], percent).frame(image)
    assert scores.shape[2:] == evaluation[f"{case}_label"].shape[1:]
    check_scores(scores, evaluation, case)


@pytest.mark.parametrize("case", ["ar05", "ar03", "arodd"])
def test_fused_protocol(evaluation, branches, case):
    hr, lr = branches
    image, keyframe, motion_qpel = (
        torch.from_numpy(evaluation[f"{evaluation[f'{case}_inputs']}__{name}"])
        for name in ("img", "ref_img", "flow_quarterpel")
    )
    assert motion_qpel.dtype == torch.int16
    percent = round(100 * float(evaluation[f"{case}_scale"]))
    with torch.inference_mode():
        feature = hr.encode(keyframe).feature
        motion = prepare_motion(motion_qpel.double() / 4, tuple(feature.shape[-2:]), "bilinear")
        method = AlteringResolution(hr, lr, percent)
        method.begin(keyframe)
        scores = method.frame(image, motion_qpel)
        warped = warp_keyframe(feature, motion_qpel)
    assert_matches(feature, evaluation, f"{case}_hr_ref_p", 2e-3)
    assert_matches(motion, evaluation, f"{case}_resized_flow", 3e-5)
    assert_matches(warped, evaluation, f"{case}_warped_ref_p", 2e-3)
    check_scores(scores, evaluation, case)


def test_the_other_warp_convention_is_far_off(evaluation, branches):
    hr, lr = branches
    inputs = evaluation["ar05_inputs"]
    image, keyframe, motion_qpel = (
        torch.from_numpy(evaluation[f"{inputs}__{name}"]) for name in ("img", "ref_img", "flow_quarterpel")
    )
    with torch.inference_mode():
        method = AlteringResolution(hr, lr, 50, "consistent")
        method.begin(keyframe)
        scores = method.frame(image, motion_qpel)
    subset = scores.numpy()[:, ::2, :, ::2]
    assert np.abs(subset - evaluation["ar05_final_logits__sub"]).max() > 1
