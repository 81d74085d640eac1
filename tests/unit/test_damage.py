"""Damaged files are refused, or give what was written; never anything else, and never the end of the process."""

import multiprocessing
import os
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from file_kinds import KINDS, make_label

from arseg.errors import ArsegError

DAMAGES = 350
"""Places in a file where a bit is flipped; at a tenth of them it is also cut off."""
HELPFUL_WORDS = ("run again", "again:", "copy it again", "delete it", "Delete it", "intact copy")
MAKERS = {kind: KINDS[kind].make for kind in ("store", "motion", "checkpoint", "evaluation", "frame", "label map")}
MAKERS["palette"] = lambda path: make_label(path, [3 * level for level in range(15)])  # which Pillow reads


def plain(value):
    """What can be compared with ==, types included."""
    if isinstance(value, dict):
        return [(key, plain(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [type(value), *map(plain, value)]
    if is_dataclass(value):
        return [type(value), *(plain(getattr(value, field.name)) for field in fields(value))]
    if hasattr(value, "numpy"):  # a tensor
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    return (type(value), repr(value))


def outcome(read, path, expected):
    """Say what a reader makes of a file: "same" and "refused" are well, anything else is not."""
    try:
        found = plain(read(path))
    except ArsegError as error:
        message = str(error)
        if path.name not in message or not any(words in message for words in HELPFUL_WORDS):
            return f"a message that does not help: {message}"
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "same" if found == expected else "other content"


def survey(read, path, expected, damages, report):
    """Report what comes of each damage, by its name; before each one its name alone, lest the reader crash."""
    with report.open("w") as file:
        for name, content in damages:
            file.write(f"{name}: ")
            file.flush()
            path.write_bytes(content)
            file.write(f"{outcome(read, path, expected)}\n")


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("kind", MAKERS)
def test_flipped_bits_and_lost_ends_are_noticed(kind, tmp_path):
    kept = KINDS.get(kind, KINDS["label map"])
    path, report = tmp_path / kept.name, tmp_path / "report"
    MAKERS[kind](path)
    content, expected = path.read_bytes(), plain(kept.read(path))
    places = range(0, len(content), max(1, len(content) // DAMAGES) | 1)  # odd: all bits of a byte have their turn
    damages = [(f"bit {place % 8} of byte {place}", flipped(content, place)) for place in places]
    damages += [(f"cut at byte {place}", content[:place]) for place in places[::10]]
    process = multiprocessing.get_context("fork").Process(
        target=survey, args=(kept.read, path, expected, damages, report)
    )
    process.start()
    process.join()
    assert process.exitcode == 0, report.read_text()[-200:]
    found = [line.partition(": ")[2] for line in report.read_text().splitlines()]
    assert not set(found) - {"same", "refused"}, report.read_text()
    assert len(found) == len(damages)
    assert found.count("refused") > 0.7 * len(places)


WITH_A_LIMIT = """
import resource, sys
from pathlib import Path
from file_kinds import KINDS
from arseg.errors import FileAccessError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for kind in sys.argv[2:]:
    try:
        KINDS[kind].make(Path(sys.argv[1], KINDS[kind].name))
    except FileAccessError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_a_disk_that_takes_no_more_gives_a_message_and_no_file(tmp_path):
    # A limit on the size of files stands for a full disk: it, too, lets a write come back short, and refuses the next.
    kinds, folder = ("store", "motion", "checkpoint", "evaluation"), tmp_path / "results"
    folder.mkdir()
    KINDS["motion"].make(folder / "motion.h5")
    (folder / "motion.h5").unlink()  # its video stays
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    words = [sys.executable, "-c", WITH_A_LIMIT, folder, *kinds]
    run = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert run.returncode == 0, run.stderr  # HDF5 would crash when the process ends
    for kind, message in zip(kinds, run.stdout.splitlines(), strict=True):
        path = folder / KINDS[kind].name
        assert message.startswith(f"{path}: cannot be written (File too large). See what is wrong in {folder}")
    assert [left.name for left in folder.iterdir()] == ["motion.264"]
