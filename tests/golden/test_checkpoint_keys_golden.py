"""Checkpoints go in and out under the published names, order and prefix (golden section B)."""

import pytest
import torch
from golden_weights import DATA, HR_SALT, LR_SALT, load_json, rule_network, rule_tensor

from arseg.compat.checkpoints import export_network
from arseg.models.registry import build_network
from arseg.models.state_dict import network_from_state_dict, without_prefix


@pytest.mark.parametrize("path", sorted((DATA / "keys").glob("*.json")), ids=lambda path: path.stem)
def test_export_lists_the_published_entries_in_order(path):
    keys = load_json(f"keys/{path.stem}")
    dataset, backbone, *form = path.stem.split("-")
    name = "psp18-cityscapes" if (dataset, backbone) == ("cityscapes", "psp18") else backbone
    network = build_network(name, 12 if dataset == "camvid" else 19, fusion=form == ["fuse"])
    exported = export_network(network, name, fusion=form == ["fuse"])
    assert keys["checkpoint_prefix"] == "module."
    assert [(n, list(t.shape), str(t.dtype)) for n, t in exported.items()] == [
        (f"module.{entry['name']}", entry["shape"], f"torch.{entry['dtype']}") for entry in keys["entries"]
    ]
    for one, other in keys["shared_storage_groups"]:
        assert exported[f"module.{one}"].data_ptr() == exported[f"module.{other}"].data_ptr()


@pytest.mark.parametrize(
    ("model", "num_differing"),
    # By the rule a tensor's two names give it two values, except for the one counter, which is zero.
    [("camvid-psp18", 0), ("camvid-psp18-fuse", 0), ("camvid-bise18", 7), ("camvid-bise18-fuse", 7)],
)
def test_import_gives_the_network_that_the_golden_outputs_are_of(model, num_differing):
    _, backbone, *form = model.split("-")
    fusion, salt = form == ["fuse"], LR_SALT if form else HR_SALT
    entries = load_json(f"keys/{model}")["entries"]
    published = {f"module.{e['name']}": rule_tensor(e["name"], tuple(e["shape"]), salt) for e in entries}
    network, *_, differing_twins = network_from_state_dict(without_prefix(published), backbone, fusion=fusion)
    expected = rule_network(backbone, fusion, salt, calibration=None).state_dict()
    assert network.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())
    assert len(differing_twins) == num_differing
    assert all(name.startswith(("final_conv.", "feat_conv_out.")) for name in differing_twins)
