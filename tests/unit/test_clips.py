import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import replace
from fractions import Fraction
from itertools import count

import numpy as np
import pytest
from motion_examples import compose_clip, compose_evidence
from PIL import Image

from arseg.codec.decode import read_clip
from arseg.codec.encode import encode_clip
from arseg.codec.frame import DecodedFrame
from arseg.data import clips
from arseg.data.clips import make_clip_stores, plan_clips, store_path
from arseg.data.manifest import Manifest, ManifestRow
from arseg.errors import CodecError, ConfigError, DataError
from arseg.spec import Encoding
from arseg.store import ClipStore

CONFIG = Encoding("h264", "300k", gop=4, preset="ultrafast")


def write_video(folder, name, indices, size=(48, 32)):
    """PNG frames of a moving texture."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(len(name))
    coarse = Image.fromarray(generator.integers(0, 256, (24, 48, 3), dtype=np.uint8))
    canvas = coarse.resize((size[0] + 128, size[1] + 64), Image.Resampling.BICUBIC)
    for place, index in enumerate(indices):
        left = 2 * place % 128
        canvas.crop((left, 0, left + size[0], size[1])).save(folder / f"{name}_{index:04d}.png")


def make_row(folder, name, index, step=1, split="test"):
    pattern = f"{folder}/{name}_{{index:04d}}.png"
    image = pattern.format(index=index)
    return ManifestRow("toy", split, name, index, image, image.replace("frames", "labels"), pattern, step)


@pytest.fixture
def frames(tmp_path):
    """Two videos: frames 0 ... 19 of "a", and every second frame 100 ... 130 of "b"."""
    folder = tmp_path / "frames"
    write_video(folder, "a", range(20))
    write_video(folder, "bb", range(100, 131, 2))
    return folder


@pytest.fixture
def rows(frames):
    return [make_row(frames, "a", index) for index in (5, 6, 11)] + [
        make_row(frames, "bb", index, step=2) for index in (106, 110)
    ]


def manifest_of(rows):
    return Manifest(tuple(sorted(rows)), (), "digest")


def summary(plans):
    found = []
    for plan in plans:
        name, start = plan.frame_paths[0].stem.split("_")
        targets = [(distance, row.frame_index) for distance, row in plan.targets]
        found.append((name, int(start), len(plan.frame_paths), targets))
    return found


def samples_of(paths):
    samples = []
    for path in paths:
        with ClipStore(path) as store:
            samples += [store.read(index) for index in range(len(store))]
    return samples


def test_a_start_is_one_clip_for_all_distances(rows):
    assert summary(plan_clips(rows, 4, [3, 1, 2])) == [
        ("a", 2, 4, [(3, 5)]),
        ("a", 3, 4, [(2, 5), (3, 6)]),
        ("a", 4, 4, [(1, 5), (2, 6)]),
        ("a", 5, 4, [(1, 6)]),
        ("a", 8, 4, [(3, 11)]),
        ("a", 9, 4, [(2, 11)]),
        ("a", 10, 4, [(1, 11)]),
        ("bb", 100, 4, [(3, 106)]),
        ("bb", 102, 4, [(2, 106)]),
        ("bb", 104, 4, [(1, 106), (3, 110)]),
        ("bb", 106, 4, [(2, 110)]),
        ("bb", 108, 4, [(1, 110)]),
    ]
    assert [path.name for path in plan_clips(rows, 4, [3])[-1].frame_paths] == [
        f"bb_{index:04d}.png" for index in range(104, 111, 2)
    ]
    # Clips that end elsewhere are other clips: an encoder must not see what lies behind the annotated frame.
    ends = [("a", 2, 4, [(3, 5)]), ("a", 3, 3, [(2, 5)]), ("a", 3, 4, [(3, 6)]), ("a", 4, 3, [(2, 6)])]
    assert summary(plan_clips(rows[:2], 4, [2, 3], tail="annotated")) == ends


@pytest.mark.parametrize("tail", ["gop", "annotated"])
@pytest.mark.parametrize("num_shards", [1, 2, 5, 40])
def test_shards_divide_the_starts_evenly(rows, tail, num_shards):
    numbers = range(num_shards)
    shards = [plan_clips(rows, 4, range(4), shard=shard, num_shards=num_shards, tail=tail) for shard in numbers]
    assert [plan for shard in shards for plan in shard] == plan_clips(rows, 4, range(4), tail=tail)
    starts = [{plan.frame_paths[0] for plan in shard} for shard in shards]
    assert len(set.union(*starts)) == sum(map(len, starts))
    assert max(map(len, starts)) - min(map(len, starts)) <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distances": [2, 4]}, r"distances \[4\]: with gop 4 a frame is 0 to 3 frames after"),
        ({"distances": [-1]}, r"distances \[-1\]"),
        ({"distances": [1], "shard": 2, "num_shards": 2}, r"shard 2: expected 0 ... 1"),
    ],
)
def test_impossible_requests_are_refused(rows, arguments, message):
    with pytest.raises(ConfigError, match=message):
        plan_clips(rows, 4, **arguments)


def test_a_frame_near_the_start_of_its_video_serves_only_as_far_as_it_can(frames):
    early = replace(make_row(frames, "a", 2), max_distance=0)
    plans = plan_clips([early, make_row(frames, "a", 5)], gop=4, distances=[0, 3])
    assert summary(plans) == [("a", 2, 4, [(0, 2), (3, 5)]), ("a", 5, 4, [(0, 5)])]


def test_stills_and_clips_that_leave_the_video_are_refused(rows, frames):
    still, late = replace(rows[0], frame_pattern="", frame_step=0), make_row(frames, "a", 18)
    for row, distance, message in (
        (still, 3, r"a_0005.png: stills cannot be made into clips.*no frame_pattern.*split 'test'"),
        (
            make_row(frames, "bb", 102, step=2),
            3,
            r"bb_0096.png: no such frame. The clip of .*bb_0102.png at distance 3",
        ),
        (make_row(frames, "a", 2), 3, r"a_0002.png: 3 frames before it.* Choose annotated frames further from the sta"),
        (late, 1, r"a_0020.png: no such frame. The clip of .*a_0018.png at distance 1 ends 2 frames after.*clip_tail"),
    ):
        with pytest.raises(DataError, match=message):
            plan_clips([row], 4, [distance])
    assert summary(plan_clips([late], 4, [1], tail="annotated")) == [("a", 17, 2, [(1, 18)])]


def test_samples_are_what_encoding_by_hand_gives(rows, tmp_path):
    paths = make_clip_stores(manifest_of(rows), "test", CONFIG, range(4), tmp_path / "out")
    assert paths == [store_path(tmp_path / "out", distance) for distance in range(4)]
    assert paths[3].name == "d03.h5"
    for distance, path in enumerate(paths):
        samples = samples_of([path])
        assert [sample.identity.frame_index for sample in samples] == [5, 6, 11, 106, 110]
        for row, sample in zip(rows, samples, strict=True):
            sources = [str(row.frame_path(offset)) for offset in range(-distance, 4 - distance)]
            pictures = np.stack([np.asarray(Image.open(source)) for source in sources])
            clip = read_clip(encode_clip(pictures, CONFIG).bitstream, "h264")
            motion_qpel = compose_clip(clip)
            np.testing.assert_array_equal(sample.keyframe, clip.frames[0].to_rgb())
            np.testing.assert_array_equal(sample.frame, clip.frames[distance].to_rgb())
            np.testing.assert_array_equal(sample.motion_qpel, motion_qpel[distance])
            np.testing.assert_array_equal(sample.intra, clip.block_ref_back[distance] == 0)
            blocks = clip.block_vectors_qpel, clip.block_ref_back, clip.height, clip.width
            np.testing.assert_array_equal(sample.evidence, compose_evidence(*blocks)[distance])
            identity = sample.identity
            assert identity.keyframe_index == row.frame_index - distance * row.frame_step
            assert (identity.image, identity.keyframe_image) == (row.image, sources[0])
            assert (identity.sequence, identity.label) == (row.sequence, row.label)


def test_attributes_record_how_a_store_was_made(rows, tmp_path):
    encoding = replace(CONFIG, tail="annotated", fps=29.97)
    (path,) = make_clip_stores(manifest_of(rows), "test", encoding, [2], tmp_path, shard=1, num_shards=2)
    with ClipStore(path) as store:
        attributes = store.attributes
    assert (attributes.dataset, attributes.split, attributes.manifest_digest) == ("toy", "test", "digest")
    assert (attributes.encoding, attributes.encoding.fps) == (encoding, Fraction(30000, 1001))
    assert (attributes.distance, attributes.shard, attributes.num_shards) == (2, 1, 2)
    assert attributes.encoder.startswith("x264")
    assert "keyint=4" in attributes.encoder_parameters
    (path,) = make_clip_stores(manifest_of(rows), "test", encoding, [2], tmp_path / "few", num_shards=99)
    assert samples_of([path]) == []  # there is a store where a shard has no clip
    with ClipStore(path) as store:
        assert (store.attributes.distance, store.attributes.encoder) == (2, "")


def test_union_of_shards_is_the_unsharded_store(rows, tmp_path):
    def samples(folder, **shard):
        return samples_of(make_clip_stores(manifest_of(rows), "test", CONFIG, [3], tmp_path / folder, **shard))

    parts = [sample for shard in range(3) for sample in samples(str(shard), shard=shard, num_shards=3)]
    for sample, other in zip(parts, samples("whole"), strict=True):
        assert sample.identity == other.identity
        for name in ("keyframe", "frame", "motion_qpel", "intra", "evidence"):
            np.testing.assert_array_equal(getattr(sample, name), getattr(other, name))


def test_nothing_is_done_twice_and_only_what_is_stored_is_decoded(rows, tmp_path, monkeypatch):
    encoded, read, lengths, converted = [], [], [], []
    encode, read_image, decode, rgb = clips.encode_clip, clips.read_image, clips.read_clip, DecodedFrame.to_rgb
    monkeypatch.setattr(clips, "encode_clip", lambda *args, **options: encoded.append(1) or encode(*args, **options))
    monkeypatch.setattr(clips, "read_image", lambda path: read.append(path.name) or read_image(path))
    monkeypatch.setattr(clips, "read_clip", lambda *args: lengths.append(args[2]) or decode(*args))
    monkeypatch.setattr(DecodedFrame, "to_rgb", lambda frame: converted.append(frame.index) or rgb(frame))
    make_clip_stores(manifest_of(rows[:2]), "test", CONFIG, [0, 2], tmp_path)
    assert len(encoded) == 4  # starts 3, 4 (frames 5 and 6 at distance 2), 5, 6
    assert read == [f"a_{index:04d}.png" for index in range(3, 10)]
    assert lengths == [3, 3, 1, 1]
    assert converted == [0, 2, 0, 2, 0, 0, 0, 0]


def test_references_further_back_than_the_paper_s_are_followed(frames, tmp_path, monkeypatch, hevc_reader):
    asked, compose = [], clips.MotionComposer
    monkeypatch.setattr(
        clips, "MotionComposer", lambda *sizes, **rules: asked.append(rules) or compose(*sizes, **rules)
    )
    manifest = manifest_of([make_row(frames, "a", 9)])
    for references in (None, 2, 5):
        config = Encoding("hevc", "300k", gop=8, preset="ultrafast", references=references, subpixel=True)
        (path,) = make_clip_stores(manifest, "test", config, [7], tmp_path / str(references))
        with ClipStore(path) as store:
            assert store.attributes.encoding == config
    assert asked == [{"subpixel": True, "max_ref_back": back, "with_evidence": True} for back in (3, 3, 5)]


def test_frames_of_another_or_odd_size_are_refused_by_name(rows, frames, tmp_path):
    write_video(frames, "odd", range(8), size=(47, 32))
    with pytest.raises(CodecError, match=r"odd_0000.png, first frame of a clip: frames of 47x32 pixels.*even"):
        make_clip_stores(manifest_of([make_row(frames, "odd", 3)]), "test", CONFIG, [3], tmp_path / "out")
    write_video(frames, "a", [4], size=(40, 32))
    message = r"a_0004.png: the frame has 40x32 pixels, the first .*a_0002.png has 48x32.* Extract the"
    with pytest.raises(DataError, match=message):
        make_clip_stores(manifest_of(rows), "test", CONFIG, [3], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        ("read_image", DataError("broken file")),
        ("encode_clip", CodecError("broken encoder")),
        ("read_clip", CodecError("broken stream")),
        ("read_clip", KeyboardInterrupt("Ctrl-C")),
        ("MotionComposer", MemoryError("full")),
    ],
)
def test_failure_of_any_stage_stops_all_and_leaves_nothing(rows, tmp_path, monkeypatch, stage, error):
    plain, calls = getattr(clips, stage), count(1)

    def fails_at_its_third_call(*args, **options):
        if next(calls) == 3:
            raise error
        return plain(*args, **options)

    monkeypatch.setattr(clips, stage, fails_at_its_third_call)
    encoded, encode = [], clips.encode_clip
    monkeypatch.setattr(clips, "encode_clip", lambda *args, **options: encoded.append(1) or encode(*args, **options))
    started = set(threading.enumerate())
    with pytest.raises(type(error), match=str(error)):
        make_clip_stores(manifest_of(rows), "test", CONFIG, range(4), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert set(threading.enumerate()) <= started
    assert len(encoded) <= 3 + clips.CLIPS_AHEAD  # of 15


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX process groups")
def test_interrupted_program_leaves_neither_files_nor_processes(rows, tmp_path):
    program = (
        "from fractions import Fraction\n"
        "from arseg.data.clips import make_clip_stores\n"
        "from arseg.data.manifest import Manifest, ManifestRow\n"
        "from arseg.spec import Encoding\n"
        f"manifest = {manifest_of(rows)!r}\n"
        f"config = {replace(CONFIG, preset='placebo')!r}\n"
        f"make_clip_stores(manifest, 'test', config, range(4), {str(tmp_path / 'out')!r})\n"
    )
    for _ in range(5):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        run = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, start_new_session=True)
        while run.poll() is None and not (tmp_path / "out").exists():
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)  # to this process alone, not to FFmpeg
        words = run.communicate(timeout=60)[1].decode()
        if "Exception ignored" not in words:  # Python drops an interrupt that falls into a destructor
            break
    assert run.returncode == -signal.SIGINT, words
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)


def test_the_first_clip_that_fails_is_the_one_reported(rows, frames, tmp_path, monkeypatch):
    # The second clip cannot be read, which is noticed at once; the first one's stream breaks later.
    (frames / "a_0006.png").write_bytes(b"")

    def break_slowly(*_):
        time.sleep(0.3)
        raise CodecError("broken stream")

    monkeypatch.setattr(clips, "read_clip", break_slowly)
    with pytest.raises(CodecError, match=r"a_0002.png, first frame of a clip: broken stream"):
        make_clip_stores(manifest_of(rows), "test", CONFIG, [3], tmp_path / "out")


def test_no_more_frames_are_in_memory_than_promised(rows, tmp_path, monkeypatch):
    # The slow one is the last stage: those before it may not run away.
    alive, most = set(), []
    plain_read, plain_decode = clips._read_frames, clips.read_clip

    def read_frames(*args):
        clip_frames = plain_read(*args)
        alive.add(id(clip_frames))
        weakref.finalize(clip_frames, alive.discard, id(clip_frames))
        most.append(len(alive))
        return clip_frames

    monkeypatch.setattr(clips, "_read_frames", read_frames)
    monkeypatch.setattr(clips, "read_clip", lambda *args: time.sleep(0.1) or plain_decode(*args))
    make_clip_stores(manifest_of(rows), "test", CONFIG, range(4), tmp_path)
    assert len(most) > 6
    assert max(most) <= clips.CLIPS_AHEAD + 1
