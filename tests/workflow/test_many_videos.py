"""Many videos by the workflow: each in a folder, long ones in parts, broken ones told, finished ones never again."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from infer_examples import P_ONLY, frames_of, p_only_video, slow_video, two_scenes, write_checkpoints
from snakemake.exceptions import WorkflowError
from snakemake_runs import REPOSITORY, planned_jobs, snakemake

from arseg.cli.main import main
from arseg.workflow.experiment import read_experiment
from arseg.workflow.videos import Videos

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with three videos: of four parts, of one, and a broken one."""
    monkeypatch.chdir(tmp_path)
    for name in ("drives/one", "drives/two"):
        Path(name).mkdir(parents=True)
    slow_video(Path("drives/one/front.mp4"), two_scenes(45), P_ONLY.format(gop=7), rate=0.2)
    p_only_video(Path("drives/two/front.mp4"), frames_of(9))
    Path("drives/two/rear.mp4").write_bytes(Path("drives/two/front.mp4").read_bytes()[:300])
    return tmp_path


def configuration(trained, changes):
    segment = {
        "videos": ["drives/**/*.mp4"],
        "outputs": ["labels.h5", "areas.csv", "overlay.mp4"],
        "checkpoints": [str(trained)],
        "scale": 0.5,
        "part_minutes": 1,
    }
    return {"name": "many", "device": "cpu", "segment": segment | changes}


def configure(trained, **changes):
    Path("many.yaml").write_text(yaml.safe_dump(configuration(trained, changes)))


def made(folder="results/many/segment"):
    return {path: path.stat().st_mtime_ns for path in Path(folder).glob("*")}


def test_many_videos_from_a_pattern_to_a_table(folder, checkpoints, capsys):
    configure(checkpoints)
    config = folder / "many.yaml"
    jobs = {"segment_part": 4, "segment_video": 3, "tabulate_videos": 1, "check_videos": 1}
    assert planned_jobs(folder, config) == jobs
    run = snakemake(folder, "--configfile", str(config))
    said = run.stdout + run.stderr
    assert run.returncode == 1, said
    assert "segment.csv: 1 of 3 videos could not be segmented" in said
    assert "two-rear: drives/two/rear.mp4: has no video stream" in said
    results = Path("results/many")
    with (results / "segment.csv").open() as file:
        rows = {row["video"]: row for row in csv.DictReader(file)}
    assert {name: (row["frames"], row["parts"]) for name, row in rows.items()} == {
        "one-front": ("45", "4"),
        "two-front": ("9", "1"),
        "two-rear": ("", ""),
    }
    assert {path.name for path in (results / "segment/one-front").iterdir()} == {
        *(".snakemake_timestamp", "areas.csv", "labels.h5", "overlay.mp4", "summary.json")
    }
    assert not [*results.glob("segment-parts/*/*of*")], "parts are of no more use"
    words = ["--checkpoint", str(checkpoints), "--scale-percent", "50", "--device", "cpu"]
    main(["segment", "drives/one/front.mp4", *words, "-o", "whole.h5", "whole.csv"])
    assert Path("whole.h5").read_bytes() == (results / "segment/one-front/labels.h5").read_bytes()
    assert Path("whole.csv").read_bytes() == (results / "segment/one-front/areas.csv").read_bytes()

    capsys.readouterr()
    Path("drives/three.mp4").write_bytes(Path("drives/two/front.mp4").read_bytes())
    words = ["segment", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2", "--hours", "10000"]
    main(["plan", "many.yaml", *words])
    planned = capsys.readouterr().out
    assert re.search(r"segment_video +videos +1 +\d", planned), planned
    assert "Videos: 1 to do, 0.3 s long\n" in planned
    assert re.search(r"An hour of video takes \S+ \S+ of job time \(measured on 2 videos, 3.8 min long\)\n", planned)
    assert re.search(r"10000 hours of video: \S+ d of job time, at least \S+ d with 2 cores\n", planned)
    before = made()
    Path("drives/two/rear.mp4").write_bytes(Path("drives/one/front.mp4").read_bytes())
    run = snakemake(folder, "segment", "--configfile", str(config))
    assert run.returncode == 0, run.stdout + run.stderr
    after = made()
    assert {path.name for path in before if before[path] == after[path]} >= {"one-front", "two-front"}
    assert (results / "segmented.txt").read_text() == "4 videos were segmented\n"
    assert planned_jobs(folder, config) == {}
    main(["provenance", "results/many/segment/one-front"])


def test_a_killed_video_leaves_nothing_half_written(folder, checkpoints):
    video, target = Path("drives/one/long.mp4"), Path("out/long")
    p_only_video(video, frames_of(2000, 64, 96))
    words = ["videos", "segment", video, "--folder", target, "--checkpoint", checkpoints, "--scale-percent", "50"]
    command = [Path(sys.executable).with_name("arseg"), *words, "-o", "labels.h5", "overlay.mp4"]
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = subprocess.Popen([*map(str, command)], stderr=subprocess.DEVNULL)
        while not [*Path("out").glob(".long.*/.labels*")]:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait() != 0
        assert not target.exists()
        assert number == signal.SIGKILL or not [*Path("out").iterdir()]
    p_only_video(video, frames_of(9))
    subprocess.run([*map(str, command)], check=True, capture_output=True)
    assert {path.name for path in Path("out").iterdir()} == {"long", "long.provenance.json"}
    assert json.loads((target / "summary.json").read_text())["frames"] == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"videos": ["none/*.mp4"]}, "many.yaml: segment.videos[0]: no file is called none/*.mp4"),
        (
            {"videos": ["drives/one/front.mp4", "drives/two/front.mp4"]},
            "many.yaml: segment.videos[1]: drives/two/front.mp4 and drives/one/front.mp4 would both be called front",
        ),
        ({"videos": ["$NOWHERE/*.mp4"]}, "segment.videos[0]: '$NOWHERE/*.mp4' names an environment variable"),
        ({"checkpoints": []}, "many.yaml: segment.checkpoints: give these, or a network by name"),
        ({"keyframes": "never"}, "many.yaml: segment.keyframes: --keyframes never"),
        ({"keyframes": "distance=3"}, "many.yaml: segment.part_minutes: parts begin at the codec's keyframes"),
        ({"outputs": ["a/b.csv"]}, "many.yaml: segment.outputs[0]: 'a/b.csv' does not match"),
        ({"checkpoints": ["none.pt"]}, "many.yaml: segment.checkpoints[0]: none.pt does not exist"),
        ({"every": 0}, "many.yaml: segment.every: 0 is less than the minimum of 1"),
    ],
    ids=str,
)
def test_a_wrong_key_is_told_before_anything_runs(folder, checkpoints, changes, message):
    with pytest.raises(WorkflowError, match=re.escape(message)):
        Videos(read_experiment(configuration(checkpoints, changes), ["many.yaml"], REPOSITORY))


def test_a_configuration_without_anything_to_do_is_refused():
    with pytest.raises(WorkflowError, match=r"many.yaml: has neither datasets nor segment"):
        read_experiment({"name": "many"}, ["many.yaml"], REPOSITORY)


def test_a_sheet_names_videos(folder, checkpoints):
    Path("drives/sheet.csv").write_text("video,name\none/front.mp4,first\ntwo/*.mp4,\n")
    config = configuration(checkpoints, {"videos": ["drives/sheet.csv"]})
    videos = Videos(read_experiment(config, ["many.yaml"], REPOSITORY)).by_name
    assert {name: str(path) for name, path in videos.items()} == {
        "first": "drives/one/front.mp4",
        "front": "drives/two/front.mp4",
        "rear": "drives/two/rear.mp4",
    }
