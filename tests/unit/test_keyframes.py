"""Keyframe policies: what ours decide, how they are named, and one that comes from outside the package."""

import csv
import json
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from infer_examples import STEP, b_picture_video, frames_of, p_only_video, two_scenes, write_checkpoints
from motion_examples import compose_motion

from arseg.codec.decode import read_clip
from arseg.codec.stream import open_video
from arseg.errors import ConfigError
from arseg.infer import Following, segment
from arseg.keyframes import POLICIES, AnyOf, Candidate, Coded, Cut, Distance, Policy, parse_policies
from arseg.motion.live import LiveVideo
from arseg.spec import PAPER_RULES
from arseg.stopwatch import Stopwatch

SEEN = []
"""Size of the packet and motion of each frame that the policy below is asked about."""


@POLICIES.register("every")
class Every(Policy):
    """A keyframe at each n-th frame, whatever the codec does."""

    def __init__(self, period: int) -> None:
        self._period = period

    def decide(self, frame):
        SEEN.append((frame.num_bytes, frame.motion_qpel.copy()))
        return "turn" if frame.index and frame.index % self._period == 0 else None


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    """A keyframe and the frame after it, in which a quarter of the blocks is intra-coded."""
    path = p_only_video(tmp_path_factory.mktemp("video") / "own.264", frames_of(2))
    keyframe, inter = read_clip(path.read_bytes(), "h264").frames
    inter.mode[...] = 1
    inter.mode[: len(inter.mode) // 4] = 0
    return {"keyframe": keyframe, "inter": inter}


def candidate(decoded, distance=1):
    return Candidate(
        index=9,
        distance=distance,
        max_distance=11,
        num_bytes=1000,
        decoded=decoded,
        compose=lambda: pytest.fail("nobody asks for the motion"),
        feedback=None,
    )


def read(path, keyframes, **options):
    following = Following(keyframes=keyframes, **options)
    with open_video(path) as stream:
        return list(LiveVideo(stream, following, following.rules(PAPER_RULES), Stopwatch()))


@pytest.mark.parametrize(
    ("policy", "frame", "distance", "reason"),
    [
        (Coded(), "keyframe", 1, "coded"),
        (Coded(), "inter", 1, None),
        (Distance(), "inter", 11, None),
        (Distance(), "inter", 12, "distance"),
        (Distance(5), "inter", 5, None),
        (Distance(5), "inter", 6, "distance"),
        (Cut(), "inter", 1, None),
        (Cut(0.25), "inter", 1, "cut"),
        (Cut(0.26), "inter", 1, None),
        (AnyOf([Cut(), Distance(0), Cut(0.1)]), "inter", 1, "distance"),
        (AnyOf([Cut(0.1), Distance(0)]), "inter", 1, "cut"),
    ],
)
def test_what_policies_decide(decoded, policy, frame, distance, reason):
    assert policy.decide(candidate(decoded[frame], distance)) == reason


def test_names_become_policies():
    policies = parse_policies("cut=0.25, coded,distance=7").policies
    assert [type(policy) for policy in policies] == [Cut, Coded, Distance]
    assert policies[2].max_distance == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected one of coded, "),
        ("coded,shot", "expected one of coded, "),
        ("coded=3", "--keyframes coded=3: the policy takes no option"),
        ("every", "--keyframes every: the policy needs an option"),
        ("distance=", "--keyframes distance=: expected a number after ="),
        ("distance=far", "--keyframes distance=far: expected a number after ="),
        ("distance=-1", "--keyframes distance=-1: the largest distance must be a whole number"),
        ("distance=2.5", "--keyframes distance=2.5: the largest distance must be a whole number"),
        ("distance=nan", "--keyframes distance=nan: the largest distance must be a whole number"),
        ("cut=0", "--keyframes cut=0: the share of intra blocks must be above 0"),
        ("cut=1.5", "--keyframes cut=1.5: the share of intra blocks must be above 0 and at most 1"),
    ],
)
def test_policies_that_are_rejected(text, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        Following(keyframes=text)


# In a video


def test_motion_leads_to_the_keyframe_that_was_decided(tmp_path):
    """Across the codec's keyframes, if they are not followed: they count as still."""
    path = p_only_video(tmp_path / "own.264", frames_of(12), gop=4)
    frames = read(path, "every=6")
    assert [frame.distance for frame in frames] == [*range(6), *range(6)]
    assert {frame.index: frame.keyframe_reason for frame in frames if frame.distance == 0} == {0: "start", 6: "turn"}
    clip = read_clip(path.read_bytes(), "h264")
    for first in (0, 6):
        blocks = clip.block_vectors_qpel[first : first + 6], clip.block_ref_back[first : first + 6]
        expected = compose_motion(*blocks, clip.height, clip.width)
        for frame in frames[first + 1 : first + 6]:
            np.testing.assert_array_equal(frame.motion_qpel, expected[frame.distance])


def test_a_policy_may_look_at_the_motion_that_is_then_kept_and_at_the_size_of_the_packet(tmp_path):
    path = p_only_video(tmp_path / "own.mkv", frames_of(9), gop=250)
    SEEN.clear()
    frames, unwatched = read(path, "every=3"), read(path, "coded,distance=2")
    sizes, motion = zip(*SEEN, strict=True)
    assert [frame.distance for frame in frames] == [0, 1, 2] * 3
    assert not motion[0].any()
    assert np.median(motion[3][16:-16, 16:-16, 0]) / 4 == pytest.approx(3 * STEP[0], abs=1)
    for frame, other in zip(frames, unwatched, strict=True):
        np.testing.assert_array_equal(frame.motion_qpel, other.motion_qpel)
    with open_video(path) as stream:
        assert sorted(sizes) == sorted(packet.size for packet in stream.packets)


def test_encoding_again_makes_no_keyframes_that_are_not_followed(tmp_path):
    frames = read(b_picture_video(tmp_path / "own.mkv", frames_of(20)), "every=8", motion="reencode")
    assert [frame.distance for frame in frames] == [index % 8 for index in range(20)]
    moved = [np.median(frame.motion_qpel[16:-16, 16:-16, 0]) / 4 for frame in frames if frame.distance]
    expected = [STEP[0] * frame.distance for frame in frames if frame.distance]
    np.testing.assert_allclose(moved, expected, atol=1)


def test_feedback_is_what_the_networks_said_of_the_frame_before(checkpoints, tmp_path):
    known, unasked, threads = [], [], set()

    @POLICIES.register("curious")
    class Curious(Policy):
        def decide(self, frame):
            unasked.append(frame.feedback)

    @POLICIES.register("asking")
    class Asking(Policy):
        needs_feedback = True

        def decide(self, frame):
            known.append(frame.feedback)
            threads.add(threading.current_thread())
            return "asked" if frame.feedback is not None and frame.feedback.distance == 2 else None

    path = p_only_video(tmp_path / "own.mkv", frames_of(7), gop=250)
    options = {"scale_percent": 50, "device": "cpu"}
    segmentation = segment(path, checkpoints, following=Following(keyframes="asking"), **options)
    found = list(segmentation)
    assert threads == {threading.main_thread()}
    assert known[0] is None
    assert [feedback.index for feedback in known[1:]] == [0, 1, 2, 3, 4, 5]
    for feedback, (_, labels, info) in zip(known[1:], found, strict=False):
        assert feedback.distance == info.distance
        np.testing.assert_array_equal(feedback.labels, labels)
    assert dict(segmentation.keyframes) == {"start": 1, "asked": 2}
    without = segment(path, checkpoints, following=Following(keyframes="coded,distance=2,curious"), **options)
    np.testing.assert_array_equal([labels for _, labels, _ in found], [labels for _, labels, _ in without])
    assert unasked == 7 * [None]  # feedback is for those who need it, and every policy is asked for every frame


def test_distances_beyond_the_training_are_said_once(checkpoints, tmp_path, caplog):
    path = p_only_video(tmp_path / "own.mkv", frames_of(15), gop=250)
    list(segment(path, checkpoints, scale_percent=50, device="cpu", following=Following(keyframes="coded")))
    (said,) = [message for message in caplog.messages if "trained up to" in message]
    assert said.startswith("frame 12 is 12 frames from its keyframe; the LR branch was trained up to 11.")


def test_a_policy_from_outside_works_in_the_command_its_summary_and_table(checkpoints, tmp_path, repository):
    """The example of the documentation, as an installed package of one file."""
    (example,) = re.findall(r"```python\n(.*?)```", (repository / "docs/keyframes.md").read_text(), flags=re.DOTALL)
    installed = tmp_path / "site"
    (installed / "size-1.0.dist-info").mkdir(parents=True)
    (installed / "my_size.py").write_text(example)
    (installed / "size-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: size\nVersion: 1.0\n")
    (installed / "size-1.0.dist-info/entry_points.txt").write_text("[arseg.keyframes]\nsize = my_size:Size\n")
    p_only_video(tmp_path / "own.mkv", two_scenes(10), gop=250)

    def run(keyframes):
        program = [sys.executable, "-c", "from arseg.cli.main import main; main()", "segment", "own.mkv"]
        words = ["--checkpoint", checkpoints, "--scale-percent", "50", "--device", "cpu", "--keyframes", keyframes]
        words += ["--summary", "run.json", "-o", "areas.csv"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), str(repository)])}
        command = [*program, *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    done = run("coded,distance,size=2")
    assert done.returncode == 0, done.stderr
    assert "keyframes: 2 (1 coded, 1 size)" in done.stdout
    assert json.loads((tmp_path / "run.json").read_text())["keyframes"] == {"coded": 1, "size": 1}
    with (tmp_path / "areas.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["keyframe_reason"] for row in rows] == ["coded", "", "", "", "", "size", "", "", "", ""]
    assert [row["distance"] for row in rows] == list("0123401234")
    refused = run("coded,shots")
    assert refused.returncode == 2
    assert "expected one of" in refused.stderr
    assert "size" in refused.stderr
