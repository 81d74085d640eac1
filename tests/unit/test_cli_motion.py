"""`arseg motion` and `arseg motion show` as a user meets them, and what they draw."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from command_line import exit_status, refusal, run
from PIL import Image
from video_examples import encode_with_x264, encode_with_x265, moving_texture, times

from arseg.codec.decode import read_frames
from arseg.codec.ffmpeg import find_ffmpeg
from arseg.codec.stream import split_bitstream
from arseg.motion.file import MotionFile
from arseg.plots.motion_field import FieldPainter, motion_fields, scale_px
from arseg.plots.motion_show import _spread

HEIGHT, WIDTH = 96, 128
STEP = (6, 0)
"""The frame's content moves to the left, so blocks come from the right: red."""
ONE_REFERENCE = "keyint=6:min-keyint=6:scenecut=0:bframes=0:ref=1:qp=18"
NUM_FRAMES = 10


@pytest.fixture(scope="module")
def bitstream():
    return encode_with_x264(moving_texture(NUM_FRAMES, HEIGHT, WIDTH, STEP), ONE_REFERENCE)


@pytest.fixture
def video(bitstream, tmp_path):
    path = tmp_path / "own.264"
    path.write_bytes(bitstream)
    return path


def fields_of(bitstream, *, composed=False, codec="h264"):
    return list(motion_fields(read_frames(split_bitstream(bitstream, codec)), composed=composed))


def test_motion_of_a_file_is_written(video, tmp_path, capsys):
    run("motion", video, "-o", tmp_path / "new/motion.h5", "--composed", "--max-frames", 4)
    assert capsys.readouterr().out == f"wrote {tmp_path / 'new/motion.h5'}\n"
    with MotionFile(tmp_path / "new/motion.h5") as file:
        assert len(file) == 4
        assert file.attributes.composed


def test_motion_of_the_standard_input_is_written(bitstream, tmp_path):
    command = [Path(sys.executable).with_name("arseg"), "motion", "-", "--output", tmp_path / "motion.h5"]
    piped = subprocess.run([str(word) for word in command], input=bitstream, capture_output=True, check=True)
    assert piped.stdout.decode() == f"wrote {tmp_path / 'motion.h5'}\n"
    with MotionFile(tmp_path / "motion.h5") as file:
        assert (len(file), file.attributes.source) == (NUM_FRAMES, "-")
        assert not file.attributes.composed


def test_what_is_left_out_is_said_once(tmp_path, capsys):
    video = tmp_path / "own.264"
    video.write_bytes(encode_with_x264(moving_texture(8, HEIGHT, WIDTH, (2, 0)), "bframes=2:b-adapt=0:ref=1"))
    run("motion", video, "-o", tmp_path / "motion.h5", "--composed")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{video}: no motion to the keyframes: frame 1 is a B-frame")
    assert second == f"wrote {tmp_path / 'motion.h5'}"
    run("motion", video, "-o", tmp_path / "motion.h5")
    assert capsys.readouterr().out.splitlines() == [second]
    error = refusal(capsys, "motion", "show", video, "-o", tmp_path / "sheet.png", "--composed")
    assert "own.264: frame 1 is a B-frame" in error
    assert not (tmp_path / "sheet.png").exists()


def test_a_damaged_video_is_read_and_its_damage_told(bitstream, tmp_path, capsys):
    damaged = tmp_path / "damaged.264"
    damaged.write_bytes(bitstream[:-200])
    run("motion", damaged, "-o", tmp_path / "motion.h5", "--composed")
    assert f"{damaged}: 0 frames lost, 1 marked as damaged\n" in capsys.readouterr().out
    with MotionFile(tmp_path / "motion.h5") as file:
        assert [file.read(index).is_damaged for index in range(len(file))] == [*[False] * 9, True]
    field = fields_of(damaged.read_bytes(), composed=True)[9]
    assert field.describe().startswith("frame 9 · P · damaged · mean 0.0 px")
    run("motion", "show", damaged, "-o", tmp_path / "sheet.png")


def test_refusals_are_one_message_and_leave_nothing(video, tmp_path, capsys):
    error = refusal(capsys, "motion", tmp_path / "none.264", "-o", tmp_path / "out.h5")
    assert f"{tmp_path / 'none.264'}: cannot be read as a video" in error
    assert exit_status("motion", video, "-o", tmp_path / "out.h5", "--max-frames", 0) == 2
    error = refusal(capsys, "motion", "show", video, "-o", tmp_path / "out.gif")
    assert "cannot draw to .gif. Name a video (.mp4, .mkv, .mov) or a sheet (.png, .pdf, .svg)" in error
    assert "expected a length above 0" in refusal(
        capsys, "motion", "show", video, "-o", tmp_path / "out.png", "--max-px", 0
    )
    assert [path.name for path in tmp_path.iterdir()] == ["own.264"]


def test_video_without_vectors_has_no_sheet(tmp_path, capsys):
    video = tmp_path / "own.264"
    video.write_bytes(encode_with_x264(moving_texture(3, HEIGHT, WIDTH, STEP), "keyint=1"))
    assert "I-frames only" in refusal(capsys, "motion", "show", video, "-o", tmp_path / "sheet.png")


def test_sheet_has_tinted_frames(video, tmp_path):
    run("motion", "show", video, "-o", tmp_path / "sheet.png", "--num-frames", 2)
    run("motion", "show", video, "-o", tmp_path / "again.png", "--num-frames", 2)
    assert (tmp_path / "sheet.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    with Image.open(tmp_path / "sheet.png") as image:
        rgb = np.asarray(image.convert("RGB")).astype(int)
    assert rgb.shape[1] > 1000  # two frames side by side
    for half in (rgb[:, : rgb.shape[1] // 2], rgb[:, rgb.shape[1] // 2 :]):
        assert (half[..., 0] > half[..., 1] + 60).mean() > 0.3


@pytest.mark.parametrize("composed", [False, True])
def test_video_has_all_frames_and_captions(composed, video, tmp_path):
    run("motion", "show", video, "-o", tmp_path / "shown.mp4", *["--composed"] * composed)
    with av.open(tmp_path / "shown.mp4") as container:
        stream = container.streams.video[0]
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert len(shown) == NUM_FRAMES
    height, width, _ = shown[0].shape
    assert width == 5 * WIDTH  # enlarged to be legible
    assert height > 5 * HEIGHT
    assert height % 2 == 0
    for index, frame in enumerate(shown):
        pixels, caption = frame[: 5 * HEIGHT], frame[5 * HEIGHT :, : width // 2]
        red = (pixels[..., 0] > pixels[..., 1] + 60).mean()
        assert red < 0.05 if index % 6 == 0 else red > 0.3 or composed
        assert caption.min() < 80
        assert caption.max() > 240


def test_frames_of_another_size_fit_into_the_first_ones(bitstream, tmp_path):
    video = tmp_path / "resized.264"
    video.write_bytes(bitstream + encode_with_x264(moving_texture(4, 128, 64, STEP), ONE_REFERENCE))
    run("motion", "show", video, "-o", tmp_path / "shown.mp4", "--composed")
    run("motion", "show", video, "-o", tmp_path / "sheet.png")
    with av.open(tmp_path / "shown.mp4") as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == NUM_FRAMES + 4
    lit = [(frame[: 5 * HEIGHT].max(axis=-1) > 40).mean(axis=0) > 0.5 for frame in shown]  # columns
    assert [columns.mean() > 0.99 for columns in lit] == NUM_FRAMES * [True] + 4 * [False]
    assert lit[-1].mean() == pytest.approx(HEIGHT * 64 / 128 / WIDTH, abs=0.02)


def test_a_drawn_video_keeps_the_times_of_its_source(bitstream, tmp_path):
    (tmp_path / "own.264").write_bytes(bitstream)
    uneven = tmp_path / "uneven.mp4"
    slower = "setts=pts=N*N/10/TB:dts=N*N/10/TB"
    command = [find_ffmpeg(), "-loglevel", "error", "-i", tmp_path / "own.264", "-c", "copy", "-bsf:v", slower]
    subprocess.run([*command, uneven], check=True)
    run("motion", "show", uneven, "-o", tmp_path / "shown.mp4")
    np.testing.assert_allclose(times(tmp_path / "shown.mp4"), np.arange(NUM_FRAMES) ** 2 / 10, atol=1e-3)


def test_painted_field_has_colour_arrows_and_marks(bitstream):
    field = fields_of(bitstream)[2]
    assert field.distance == 2
    assert field.mean_px == pytest.approx(6, abs=0.3)
    assert field.describe().startswith("frame 2 · P · d = 2 · mean 6.")
    field.vectors_px[:] = STEP
    field.frame.mode[:] = 1
    field.frame.mode[:, :8] = 0
    painted = FieldPainter(HEIGHT, WIDTH, 4 * WIDTH, 6.0).paint(field).astype(int)
    assert painted.shape == (4 * HEIGHT, 4 * WIDTH, 3)
    left, right = painted[:, : WIDTH - 4], painted[:, WIDTH + 4 :]
    tinted = (right[..., 1] < 2) & (right[..., 2] < 2)  # nothing but red
    black, white = (right.max(axis=-1) < 2), (right.min(axis=-1) > 250)
    assert tinted.mean() > 0.5
    assert black.mean() > 0.01
    assert white.mean() > 0.02
    hatched = (left[..., 0] > 0) & (left[..., 0] < 96) & (left[..., 1] < 2)  # darker than shadows are
    assert 0.1 < hatched.mean() < 0.4
    assert not ((right[..., 0] > 5) & (right[..., 0] < 96) & (right[..., 1] < 2)).mean() > 0.02


def test_composed_fields_grow_with_the_distance(bitstream):
    fields = fields_of(bitstream, composed=True)
    interior = [field.vectors_px[8:-8, 8:12] for field in fields]
    for index in range(5):
        assert np.median(interior[index][..., 0]) == 6 * index
    assert not interior[6].any()
    assert [field.distance for field in fields] == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    assert scale_px(fields[:2]) == 6
    assert scale_px(fields[:1]) == 1


@pytest.mark.usefixtures("hevc_reader")
def test_blocks_that_list_1_alone_predicts_are_drawn_from_it():
    bitstream = encode_with_x265(moving_texture(6, HEIGHT, WIDTH, (4, 0)), "keyint=6:bframes=2:b-adapt=0:qp=18")
    (field, *_) = (field for field in fields_of(bitstream, codec="hevc") if field.frame.kind == "B")
    only_second = (field.frame.ref_poc[0] < -1000) & (field.frame.ref_poc[1] >= 0)
    assert only_second.any()
    np.testing.assert_array_equal(field.vectors_px[only_second] * 4, field.frame.vectors_qpel[1][only_second])


@pytest.mark.parametrize(
    ("length", "chosen"), [(3, [1, 2]), (100, [10, 30, 50, 70, 90]), (1000, [100, 300, 500, 700, 900])]
)
def test_sheet_is_spread_over_a_video_of_any_length(length, chosen, bitstream):
    keyframe, inter, *_ = fields_of(bitstream)
    stream = [keyframe, *[inter] * (length - 1)]

    class Numbered:
        def __init__(self, number, field):
            self.number, self.frame = number, field.frame

    found = [field.number for field in _spread((Numbered(*pair) for pair in enumerate(stream)), 5)]
    assert len(found) == len(chosen)
    assert 0 not in found
    np.testing.assert_allclose(found, chosen, atol=length / 20)
