"""Local attention: its definition, gradients, precision, memory, and which form runs."""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arseg.errors import ConfigError, DataError, KernelError
from arseg.models.attention import cpu, eager, fuse_on_cpu, implementations, local_attention
from arseg.models.creff import CReFF
from arseg.models.registry import build_network


def random_inputs(*shape, dtype=torch.float32, requires_grad=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(requires_grad)
        for _ in range(3)
    ]


def test_strips_change_nothing(monkeypatch):
    inputs = random_inputs(2, 5, 11, 6, requires_grad=True)
    whole = eager.attend(*inputs, 7)
    gradients = torch.autograd.grad(whole.square().sum(), inputs)
    for row_count in (1, 4):
        monkeypatch.setattr(eager, "_STRIP_BYTES", row_count * 2 * 5 * 6 * 4)
        strips = eager.attend(*inputs, 7)
        torch.testing.assert_close(strips, whole)
        for found, wanted in zip(torch.autograd.grad(strips.square().sum(), inputs), gradients, strict=True):
            torch.testing.assert_close(found, wanted)


def test_only_inputs_and_weights_are_kept():
    inputs = random_inputs(1, 16, 12, 10, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        local_attention(*inputs, implementation="eager")
    assert sum(kept) == 3 * 16 * 12 * 10 + 49 * 12 * 10


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_to_single(dtype):
    inputs = [0.5 * x for x in random_inputs(1, 32, 16, 12)]
    halved = [x.to(dtype).requires_grad_() for x in inputs]
    attended = local_attention(*halved)
    assert attended.dtype == dtype
    # Compare on the rounded inputs: what is left is the rounding of the result, half of 2^-7 of its size.
    rounded = [x.detach().float().requires_grad_() for x in halved]
    wanted = local_attention(*rounded)
    torch.testing.assert_close(attended.float(), wanted, rtol=2**-8, atol=1e-6)
    attended.float().square().sum().backward()
    wanted.square().sum().backward()
    for found, single in zip(halved, rounded, strict=True):
        assert found.grad.dtype == dtype
        torch.testing.assert_close(found.grad.float(), single.grad, rtol=2e-2, atol=2e-2)


def test_other_shapes_and_windows_are_refused():
    query, key, value = random_inputs(1, 3, 4, 5)
    with pytest.raises(DataError, match=r"key \(1, 3, 4, 4\).*one shape \(N, C, H, W\)"):
        local_attention(query, key[..., 1:], value)
    with pytest.raises(DataError, match="window 4: expected an odd side length"):
        local_attention(query, key, value, window=4)


# The compiled form


@pytest.fixture(scope="module")
def native():
    """Skip where the machine has no compiler; a failing build is a failure."""
    missing = cpu.why_not()
    if missing and os.environ.get("ARSEG_REQUIRE_NATIVE") != "1" and "no C++ compiler" in missing:
        pytest.skip(missing)
    assert not missing


def brute_force(query, key, value, window):
    """The definition, pixel by pixel, in double precision."""
    radius = window // 2
    query, key, value = (x.detach().double() for x in (query, key, value))
    padded_key, padded_value = (torch.nn.functional.pad(x, [radius] * 4) for x in (key, value))
    attended = torch.empty_like(value)
    for y in range(value.shape[2]):
        for x in range(value.shape[3]):
            keys = padded_key[:, :, y : y + window, x : x + window].flatten(2)
            values = padded_value[:, :, y : y + window, x : x + window].flatten(2)
            weights = (query[:, :, y, x, None] * keys).sum(dim=1, keepdim=True).softmax(dim=2)
            attended[:, :, y, x] = (weights * values).sum(dim=2)
    return attended


SHAPES = [
    ((2, 5, 13, 17), 7),
    ((1, 64, 9, 30), 7),
    ((1, 8, 40, 250), 5),  # wider than a strip
    ((1, 3, 110, 9), 3),  # higher than a part
    ((1, 9, 4, 5), 9),
    ((3, 1, 1, 1), 7),
    ((1, 2, 7, 8), 1),
    ((1, 4, 100, 200), 7),
]


def assert_native_is_eager(shape, window, tolerance):
    """Compare values and gradients."""
    results = []
    for implementation in ("eager", "native"):
        inputs = random_inputs(*shape, requires_grad=True)
        attended = local_attention(*inputs, window, implementation=implementation)
        results.append([attended, *torch.autograd.grad(attended, inputs, random_inputs(*shape, seed=1)[0])])
    for found, expected in zip(*results[::-1], strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("shape", "window"), SHAPES)
def test_every_form_is_the_definition(native, shape, window):
    inputs = random_inputs(*shape)
    found = local_attention(*inputs, window, implementation="eager")
    torch.testing.assert_close(found, brute_force(*inputs, window).float(), rtol=1e-5, atol=2e-5)
    assert_native_is_eager(shape, window, 1e-4)


@settings(max_examples=25)
@given(
    channels=st.integers(1, 20),
    height=st.integers(1, 24),
    width=st.integers(1, 60),
    window=st.sampled_from([1, 3, 5, 7, 9]),
)
def test_any_shape(channels, height, width, window):
    if not cpu.why_not():  # else `native` skips, or fails, for all of these
        assert_native_is_eager((1, channels, height, width), window, 1e-3)


def test_large_scores_do_not_overflow(native):
    query, key, value = (factor * x for factor, x in zip((100, 100, 1), random_inputs(1, 4, 9, 20), strict=True))
    found = local_attention(query, key, value, implementation="native")
    torch.testing.assert_close(found, brute_force(query, key, value, 7).float(), rtol=1e-2, atol=1e-2)


def test_compiled_results_do_not_depend_on_threads(native):
    inputs = random_inputs(2, 16, 60, 300, requires_grad=True)
    module, low = CReFF(16).eval(), torch.randn(2, 16, 30, 150)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            attended = local_attention(*inputs, implementation="native")
            with torch.no_grad():
                parameters = [x for part in CONVOLUTIONS for x in getattr(module, part).parameters()]
                fused = fuse_on_cpu(inputs[0].detach(), low, parameters, 7)
            results.append([attended, fused, *torch.autograd.grad(attended.square().sum(), inputs)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(found, first) for found, first in zip(other, results[0], strict=True))


def test_strided_inputs_are_the_same_features(native):
    inputs = random_inputs(2, 6, 10, 12)
    expected = local_attention(*inputs, implementation="native")
    for rearranged in (
        [x.contiguous(memory_format=torch.channels_last) for x in inputs],
        [torch.cat([x, x], dim=3)[..., :12] for x in inputs],
    ):
        assert torch.equal(local_attention(*rearranged, implementation="native"), expected)


CONVOLUTIONS = ("lr_query_conv", "hr_key_conv", "hr_value_conv")


@pytest.mark.parametrize(
    ("size", "low"),
    [
        ((5, 13, 17), (6, 8)),
        ((16, 40, 300), (20, 150)),
        ((9, 7, 5), (7, 5)),
        ((3, 1, 1), (1, 1)),
        ((4, 30, 250), (1, 1)),
        ((4, 9, 9), (20, 13)),
    ],
)
def test_creff_in_one_pass_is_creff(native, monkeypatch, size, low):
    torch.manual_seed(0)
    module = CReFF(size[0]).eval()
    warped, feature = torch.randn(2, *size), torch.randn(2, size[0], *low)
    with torch.no_grad():
        found = module(warped, feature)
        monkeypatch.setattr("arseg.models.creff.fuse_on_cpu", lambda *_: None)
        torch.testing.assert_close(found, module(warped, feature), rtol=1e-5, atol=1e-5)


def test_creff_keeps_gradients_and_other_precisions(native):
    module, warped, low = CReFF(4), torch.randn(1, 4, 6, 8), torch.randn(1, 4, 3, 4)
    assert module(warped, low).requires_grad
    with torch.no_grad():
        assert module.double()(warped.double(), low.double()).dtype == torch.float64
        assert module.bfloat16()(warped.bfloat16(), low.bfloat16()).dtype == torch.bfloat16


# Choosing one


def test_the_fastest_is_chosen(native):
    feature = torch.zeros(1, 2, 3, 4)
    assert implementations(feature) == ["native", "eager"]
    assert implementations(feature.double()) == ["eager"]
    assert implementations(feature, window=11) == ["eager"]
    assert implementations(feature[:0]) == ["eager"]
    assert implementations(feature.to("meta")) == ["eager"]


def test_the_environment_chooses(native, monkeypatch):
    inputs = random_inputs(1, 8, 12, 12)
    monkeypatch.setattr(cpu, "attend", lambda *_: pytest.fail("the compiled form was chosen"))
    monkeypatch.setenv("ARSEG_ATTENTION", "eager")
    assert torch.equal(local_attention(*inputs), local_attention(*inputs, implementation="eager"))


@pytest.mark.parametrize(
    ("implementation", "dtype", "error", "message"),
    [
        ("fast", torch.float32, ConfigError, "implementation 'fast': expected one of auto, eager, native, triton"),
        ("native", torch.float64, KernelError, "native cannot run here with a window of 7 .*float64 on cpu"),
        ("triton", torch.float32, KernelError, "triton cannot run here"),
    ],
)
def test_what_cannot_be_chosen(implementation, dtype, error, message):
    with pytest.raises(error, match=message):
        local_attention(*random_inputs(1, 2, 3, 4, dtype=dtype), implementation=implementation)


def forget():
    for cached in (cpu._library, cpu.why_not):
        cached.cache_clear()


@pytest.fixture
def unbuilt(monkeypatch, tmp_path):
    """A cache with nothing in it."""
    monkeypatch.setenv("ARSEG_CACHE", str(tmp_path))
    forget()
    yield tmp_path
    forget()


def test_without_a_compiler_plain_pytorch_runs_and_one_warning_says_so(unbuilt, monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    inputs = random_inputs(1, 2, 3, 4)
    for _ in range(2):
        assert torch.equal(local_attention(*inputs), local_attention(*inputs, implementation="eager"))
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "CXX=no-such-compiler is no program. Install one" in warning
    with pytest.raises(KernelError, match=r"native cannot run here.*no-such-compiler"):
        local_attention(*inputs, implementation="native")


def test_a_source_that_does_not_compile_leaves_nothing(native, unbuilt, monkeypatch, tmp_path_factory):
    source = tmp_path_factory.mktemp("source") / "attention.cpp"
    source.write_text("this is not C++")
    monkeypatch.setattr(cpu, "SOURCE", source)
    assert "cannot be compiled" in cpu.why_not()
    assert [path.suffix for path in unbuilt.iterdir()] in ([], [".lock"])


def test_a_network_that_is_traced_holds_plain_operations(native):
    network = build_network("bise18", 3, fusion=True).eval()
    inputs = torch.randn(1, 256, 8, 8), torch.randn(1, 256, 4, 4)
    with torch.no_grad():
        expected = network.fuse_attention(*inputs)
        exported = torch.export.export(network.fuse_attention, inputs).module()
        torch.testing.assert_close(exported(*inputs), expected, rtol=1e-4, atol=1e-4)
