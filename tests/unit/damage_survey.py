"""Read a file again and again, each time with one bit flipped or its end cut off, and count what comes of it.

A process of its own, because a reader that crashes must fail a test and not end it: ``python damage_survey.py KIND
FILE RESULT FIRST:LAST:STEP`` tells on its standard output which damage it is about to try, and writes its counts to
RESULT.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from arseg.errors import ArsegError

WORDS_OF_MENDING = ("run again", "again:", "copy it again", "delete it", "Delete it", "intact copy")


def read_store(path: Path) -> Any:
    from arseg.store import ClipStore  # noqa: PLC0415 - each kind in its own process, without the other's libraries

    with ClipStore(path) as store:
        samples = [store.read(index) for index in range(len(store))]
        return (store.attributes, store.identities(), [list(vars(sample).values()) for sample in samples])


def read_motion(path: Path) -> Any:
    from arseg.motion.file import MotionFile  # noqa: PLC0415

    with MotionFile(path) as file:
        pictures = [file.read(index) for index in range(len(file))]
        return (file.attributes, [list(vars(picture).values()) for picture in pictures])


def read_checkpoint(path: Path) -> Any:
    from arseg.models.checkpoint import read_tensors  # noqa: PLC0415

    return read_tensors(path, "delete it, and train it again")


def read_evaluation(path: Path) -> Any:
    from arseg.evaluate.result import load_evaluation  # noqa: PLC0415

    return list(vars(load_evaluation(path)).values())


def read_frame(path: Path) -> Any:
    from arseg.data.images import read_image  # noqa: PLC0415

    return read_image(path)


def read_label_map(path: Path) -> Any:
    from arseg.data.images import read_label  # noqa: PLC0415

    return read_label(path, num_classes=256)


READERS: dict[str, Callable[[Path], Any]] = {
    "store": read_store,
    "motion": read_motion,
    "checkpoint": read_checkpoint,
    "evaluation": read_evaluation,
    "frame": read_frame,
    "label": read_label_map,
    "palette": read_label_map,
}


def plain(value: Any) -> Any:
    """What can be compared with ==, types included."""
    if isinstance(value, dict):
        return [(key, plain(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [type(value), *map(plain, value)]
    if hasattr(value, "numpy"):  # a tensor
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    return (type(value), repr(value))


def outcome(read: Callable[[Path], Any], path: Path, expected: Any) -> str:
    """Say what a reader makes of a file: "same" and "refused" are well, anything else is not."""
    try:
        found = plain(read(path))
    except ArsegError as error:
        message = str(error)
        if path.name not in message or not any(words in message for words in WORDS_OF_MENDING):
            return f"a message that does not help: {message}"
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "same" if found == expected else "other content"


def survey(kind: str, path: Path, places: range) -> dict[str, Any]:
    """Try damage: at each byte of `places` one bit, which one depends on the place; and each tenth as a new end."""
    read, content = READERS[kind], path.read_bytes()
    expected = plain(read(path))
    counts: dict[str, int] = {"same": 0, "refused": 0}
    bad: list[str] = []
    damages = [(f"bit {place % 8} of byte {place}", place) for place in places]
    damages += [(f"cut at byte {place}", -place) for place in places[::10]]
    for name, place in damages:
        print(name, flush=True)
        damaged = bytearray(content) if place >= 0 else bytearray(content[:-place])
        if place >= 0 and name.startswith("bit"):
            damaged[place] ^= 1 << place % 8
        elif place == 0:
            damaged = bytearray()
        path.write_bytes(damaged)
        result = outcome(read, path, expected)
        if result in counts:
            counts[result] += 1
        else:
            bad.append(f"{name}: {result}")
    path.write_bytes(content)
    return {"size": len(content), "counts": counts, "bad": bad}


if __name__ == "__main__":
    kind, file, result, places = sys.argv[1:]
    Path(result).write_text(json.dumps(survey(kind, Path(file), range(*map(int, places.split(":"))))))
