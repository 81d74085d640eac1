"""Videos that are written: read again, they have the times, the colours and the sound that they should."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from infer_examples import rgb_frames
from video_examples import BEEP, heard, moving_texture, sound, times

from arseg.codec.video_writer import ENCODERS, Origin, VideoOptions, create_video
from arseg.errors import CodecError, ConfigError

UNEVEN = [0, 0.04, 0.1, 0.5, 0.52, 1.7, 3.31]
"""Seconds; with the last of seven frames, 3.35 of them."""


def written(path, frames, seconds=None, options=None, **origin):
    with create_video(path, Origin(**origin), options or VideoOptions()) as video:
        for number, frame in enumerate(frames):
            video.write(frame, None if seconds is None else seconds[number])
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_frames_keep_their_times_however_uneven(tmp_path, suffix):
    options = {"frames_per_second": Fraction(25), "time_base": Fraction(1, 12800)}
    path = written(tmp_path / f"v{suffix}", moving_texture(7, 64, 96, (3, 1)), UNEVEN, **options)
    assert times(path) == pytest.approx(UNEVEN, abs=0 if suffix != ".mkv" else 0.0005)  # Matroska counts milliseconds
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(3.35e6, abs=1000)


def test_a_constant_rate_is_kept_exactly(tmp_path):
    rate = Fraction(30000, 1001)
    path = written(tmp_path / "v.mp4", moving_texture(20, 64, 96, (3, 1)), frames_per_second=rate)
    assert times(path) == [float(number / rate) for number in range(20)]


def test_a_clock_that_was_set_anew_leaves_no_hole(tmp_path):
    source = heard(tmp_path / "source.mkv", "-c:a", "pcm_s16le")
    seconds = [0, 0.1, 1000, 1000.1, 9000, 9000.1]  # an hour and more is no pause
    path = written(tmp_path / "v.mp4", moving_texture(6, 64, 96, (3, 1)), seconds, frames_per_second=Fraction(10))
    assert times(path) == pytest.approx([0, 0.1, 1000, 1000.1, 1000.2, 1000.3])
    seconds = [-9000 + value for value in (9000, 18000, 18000.5, 18001)]
    path = written(tmp_path / "v.mkv", moving_texture(4, 64, 96, (3, 1)), seconds, name=str(source), start=-9000)
    assert sound(path)[1] == pytest.approx(BEEP + 0.04, abs=0.03)


def test_players_are_told_colours_and_find_the_index_in_front(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]], np.uint8)
    frames = np.broadcast_to(colours.repeat(16, 0)[None], (3, 64, 80, 3))
    path = written(tmp_path / "v.mp4", frames)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == "yuv420p"
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        frame = next(container.decode(video=0)).reformat(format="rgb24", src_colorspace="ITU709")
    assert np.abs(frame.to_ndarray()[32, 8::16].astype(int) - colours).max() <= 4
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize(("size", "shown"), [((49, 95), (50, 96)), ((1, 1), (2, 2)), ((64, 96), (64, 96))])
def test_sides_become_even_by_a_repeated_row_or_column(tmp_path, size, shown):
    frame = moving_texture(1, 64, 96, (3, 1))[0, : size[0], : size[1]]
    (found,) = rgb_frames(written(tmp_path / "v.mp4", [frame], options=VideoOptions(crf=1)))
    assert found.shape == (*shown, 3)
    assert np.abs(found[: size[0], : size[1]] - frame).mean() < 16  # of colours at half the resolution


def test_codec_and_quality_can_be_chosen(tmp_path):
    frames = moving_texture(8, 64, 96, (3, 1))
    bytes_of = {}
    for codec, crf in (("h264", None), ("h264", 40), ("hevc", None), ("av1", None)):
        path = written(tmp_path / "v.mp4", frames, options=VideoOptions(codec=codec, crf=crf))
        bytes_of[codec, crf] = path.stat().st_size
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            assert context.codec.canonical_name == codec
            assert context.codec_tag == {"h264": "avc1", "hevc": "hvc1", "av1": "av01"}[codec]
            assert len(list(container.decode(video=0))) == 8
    assert bytes_of["h264", 40] < bytes_of["h264", None] / 2
    with pytest.raises(ConfigError, match=r"--overlay\.crf 52: must be from 0 \(best quality\) to 51"):
        VideoOptions(crf=52)
    assert VideoOptions(codec="av1", crf=52).crf == 52


@pytest.mark.parametrize(
    ("source", "options", "target", "codec"),
    [
        ("source.mp4", ["-c:a", "aac"], "v.mp4", "aac"),
        ("source.ts", ["-c:a", "aac"], "v.mov", "aac"),
        ("source.mkv", ["-c:a", "libopus"], "v.mp4", "opus"),
        ("source.mkv", ["-c:a", "libvorbis"], "v.mkv", "vorbis"),
        ("source.mkv", ["-c:a", "libvorbis"], "v.mp4", "aac"),
        ("source.avi", ["-c:a", "pcm_s16le"], "v.mp4", "aac"),
        ("source.mkv", ["-c:a", "flac", "-ar", "192000", "-ac", "6"], "v.mov", "aac"),
    ],
)
def test_the_sound_is_kept(tmp_path, source, options, target, codec):
    origin = {"name": str(heard(tmp_path / source, *options)), "frames_per_second": Fraction(10)}
    with av.open(origin["name"]) as container:
        video = container.streams.video[0]
        start = float((video.start_time or 0) * video.time_base)
    path = written(tmp_path / target, moving_texture(25, 64, 96, (3, 1)), start=start, **origin)
    found, beep, end = sound(path)
    assert found == codec
    assert beep == pytest.approx(BEEP, abs=0.03)
    assert end == pytest.approx(2.5, abs=0.15)  # with the last frame, up to whole packets
    silent = written(tmp_path / "silent.mp4", moving_texture(3, 64, 96, (3, 1)), options=VideoOptions(audio=False))
    with av.open(str(silent)) as container:
        assert not container.streams.audio


def test_the_sound_begins_with_the_first_frame(tmp_path):
    source = heard(tmp_path / "source.mkv", "-c:a", "aac", first_frame=0.5)
    path = written(tmp_path / "v.mp4", moving_texture(25, 64, 96, (3, 1)), name=str(source), start=0.5)
    assert sound(path)[1] == pytest.approx(BEEP - 0.5, abs=0.03)
    assert times(path)[0] == 0


def test_a_damaged_sound_ends_no_video(tmp_path):
    source = heard(tmp_path / "source.mkv", "-c:a", "libvorbis")
    content = bytearray(source.read_bytes())
    for place in range(len(content) // 4, len(content), 97):
        content[place] ^= 255
    source.write_bytes(content)
    path = written(tmp_path / "v.mp4", moving_texture(25, 64, 96, (3, 1)), name=str(source))
    assert len(times(path)) == 25


def test_a_sound_that_cannot_be_kept_is_told(tmp_path, caplog):
    frames = moving_texture(2, 64, 96, (3, 1))
    with caplog.at_level("INFO"):
        written(tmp_path / "v.mp4", frames, name="-")
    assert "-: if it has sound, it is left out" in caplog.text
    source = heard(tmp_path / "source.mkv", "-c:a", "libvorbis")
    source.write_bytes(source.read_bytes().replace(b"A_VORBIS", b"A_STRANG"))
    written(tmp_path / "v.mp4", frames, name=str(source))
    assert "source.mkv: its sound is left out, because FFmpeg cannot decode it" in caplog.text


def test_what_ffmpeg_cannot_write_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(CodecError, match=r"v\.mov: FFmpeg cannot write it: Invalid argument\. Choose another"):
        written(tmp_path / "v.mov", moving_texture(2, 64, 96, (3, 1)), options=VideoOptions(codec="av1"))
    monkeypatch.setitem(ENCODERS, "h264", replace(ENCODERS["h264"], name="libnone"))
    with pytest.raises(CodecError, match=r"v\.mp4: this FFmpeg has no h264 encoder. Choose another --overlay\.codec"):
        written(tmp_path / "v.mp4", moving_texture(2, 64, 96, (3, 1)))
    assert not list(tmp_path.iterdir())
