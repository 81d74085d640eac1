"""The programs in `benchmarks/` that look for failures, on very little."""

import csv
import subprocess
import sys
from pathlib import Path

from infer_examples import frames_of, p_only_video

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(name, *words):
    command = [sys.executable, BENCHMARKS / f"{name}.py", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_folder_of_videos_and_other_files_becomes_a_table(tmp_path):
    folder, table = tmp_path / "videos", tmp_path / "corpus.csv"
    folder.mkdir()
    p_only_video(folder / "own.264", frames_of(4))
    (folder / "notes.txt").write_text("no video")
    for _ in range(2):  # the second time, all rows are there
        ended = run("corpus", folder, "--output", table)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "2 files: 1 with all frames, 1 without any (one line each), 0 with other frames" in ended.stdout
        assert "own motion in 1 of 1 H.264, HEVC and MPEG files (100 %)" in ended.stdout
    with table.open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert len(rows) == 2
    assert {rows["videos/own.264"][count] for count in ("shown", "segmented", "written", "recorded")} == {"4"}
    assert "cannot be read as a video" in rows["videos/notes.txt"]["segment_error"]


def test_damaged_streams_end_in_frames_or_in_one_error():
    ended = run("fuzz", "--streams", "h264-mp4", "--seeds", 8)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    name, damaged, _, marked, sound, _, errors, _, _ = (cell.strip() for cell in ended.stdout.split("|")[-10:-1])
    assert (name, damaged, errors) == ("h264-mp4", "8", "0")
    assert int(marked)
    assert int(sound)


def test_memory_is_sampled_while_a_video_is_segmented():
    ended = run("soak", "--minutes", 0.05, "--size", "64x48", "--limit", 10000)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    *samples, last = ended.stdout.splitlines()
    assert sum("frames" in line and "MiB" in line for line in samples) >= 4
    assert "flat: the second half added" in last
