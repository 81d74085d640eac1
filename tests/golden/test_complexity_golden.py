"""Multiply-accumulates against counts of the published programs (golden section I) and the paper."""

import pytest
from golden_weights import load_json

from arseg.evaluate.complexity import count_macs, gmacs_per_frame
from arseg.models.macs import MacCount

SIZES = {"camvid": (12, 720, 960), "cityscapes": (19, 1024, 2048)}
NETWORKS = {
    "camvid-psp18": "psp18",
    "camvid-bise18": "bise18",
    "cityscapes-psp18": "psp18-cityscapes",
    "cityscapes-bise18": "bise18",
}
SCALES = ("0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9")


@pytest.fixture(scope="module")
def golden():
    return load_json("I_flops")


def counted(entry):
    return MacCount(entry["macs_conv_linear"], entry["macs_local_attention"])


@pytest.mark.parametrize("network", NETWORKS)
def test_hr_frame(golden, network):
    size = SIZES[network.split("-")[0]]
    assert count_macs(NETWORKS[network], *size, mode="hr", scale_percent=100, device="meta") == counted(
        golden[network]["HR"]
    )


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("scale", SCALES)
def test_low_resolution_frames(golden, network, scale):
    size = SIZES[network.split("-")[0]]
    percent = round(100 * float(scale))
    plain = count_macs(NETWORKS[network], *size, mode="lr", scale_percent=percent, device="meta")
    fused = count_macs(NETWORKS[network], *size, mode="ar", scale_percent=percent, device="meta")
    assert plain == counted(golden[network]["LR"][scale])
    assert fused == counted(golden[network]["AR"][scale]["total"])
    average = golden[network]["GOP12_average"][scale]["avg_gmacs_incl_local_attention"]
    hr = counted(golden[network]["HR"]).total
    assert (hr + 11 * fused.total) / 12 / 1e9 == pytest.approx(average, rel=1e-9)


@pytest.mark.parametrize(
    ("backbone", "hr", "ar"), [("psp18", 308.6, 101.9), ("bise18", 40.1, 13.0)], ids=["psp18", "bise18"]
)
def test_published_gflops_of_camvid(backbone, hr, ar):
    size = SIZES["camvid"]
    assert gmacs_per_frame(backbone, *size, mode="hr", scale_percent=100, gop=12, device="meta") == pytest.approx(
        hr, rel=5e-3
    )
    assert gmacs_per_frame(backbone, *size, mode="ar", scale_percent=50, gop=12, device="meta") == pytest.approx(
        ar, rel=5e-3
    )


def test_psp18_saves_67_percent():
    cost = {
        mode: gmacs_per_frame("psp18", *SIZES["camvid"], mode=mode, scale_percent=50, gop=12, device="meta")
        for mode in ("hr", "ar")
    }
    assert 1 - cost["ar"] / cost["hr"] == pytest.approx(0.67, abs=5e-4)
