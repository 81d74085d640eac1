"""Miniature CamVid: real videos, stills and colour labels under the published names."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from video_examples import moving_texture

from arseg.codec.ffmpeg import find_ffmpeg
from arseg.codec.video import extract_frames
from arseg.datasets.camvid.manifest import camvid_classes

HEIGHT, WIDTH = 64, 96
UNKNOWN = (64, 192, 0)
"""Colour of "wall", one of CamVid's classes that do not count."""

VIDEOS = {
    "0001TP": ("01TP_extract.avi", 44, ["-c:v", "mpeg4", "-q:v", "2"]),
    "0006R0": ("0006R0.MXF", 32, ["-c:v", "mpeg2video", "-q:v", "2"]),
    "0016E5": ("0016E5.MXF", 36, ["-c:v", "mpeg2video", "-q:v", "2"]),
    "Seq05VD": ("0005VD.MXF", 32, ["-c:v", "mpeg2video", "-q:v", "2"]),
}
"""File, number of frames and codec of each video."""

SEQUENCES = """sequence,video,first_annotated,last_annotated,first_decoded
0001TP,01TP_extract.avi,8514,8532,13
0006R0,0006R0.MXF,930,936,13
0016E5,0016E5.MXF,7950,7961,13
Seq05VD,0005VD.MXF,12,18,14
"""

STILLS = {
    "0001TP_008514": ("0001TP", 13, "train"),
    "0001TP_008520": ("0001TP", 19, "train"),
    "0001TP_008526": ("0001TP", 25, "val"),
    "0001TP_008532": ("0001TP", 31, "test"),
    "0006R0_f00930": ("0006R0", 13, "train"),
    "0006R0_f00936": ("0006R0", 19, "val"),
    "0016E5_07950": ("0016E5", 13, "train"),
    "0016E5_07956": ("0016E5", 19, "train"),
    "0016E5_07959": ("0016E5", 22, "val"),
    "0016E5_07961": ("0016E5", 24, "test"),
    "Seq05VD_f00000": ("Seq05VD", 2, "test"),
    "Seq05VD_f00012": ("Seq05VD", 14, "train"),
    "Seq05VD_f00018": ("Seq05VD", 20, "test"),
}
"""Of each still the sequence, the decoded frame that is the same picture, and the split of the Kaggle package."""


def write_video(path, frames, options):
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", "30000/1001", "-i", "-"]
    command = [find_ffmpeg(), "-loglevel", "error", *source, *options, "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)


def color_label(frame):
    """Classes by brightness, all twelve of them, and a corner of a colour that does not count."""
    brightness = frame.mean(axis=-1)
    ranks = np.searchsorted(np.quantile(brightness, np.linspace(0, 1, 13)[1:-1]), brightness)
    label = np.array([cls.color for cls in camvid_classes()], np.uint8)[ranks]
    label[:8, :8] = UNKNOWN
    return label


def write_camvid(root, packaging="kaggle"):
    """Write archives and videos as one downloads them; give the sheet of sequences that fits them."""
    root = Path(root)
    root.mkdir(parents=True)
    pictures = root / "pictures"
    for seed, (sequence, (name, num_frames, options)) in enumerate(VIDEOS.items()):
        write_video(root / name, moving_texture(num_frames, HEIGHT, WIDTH, (2, 1 - seed % 2), seed), options)
        extract_frames(root / name, pictures / sequence, f"{sequence}_%06d.png")
    files = {}
    for still, (sequence, index, split) in STILLS.items():
        frame = pictures / sequence / f"{sequence}_{index:06d}.png"
        label = pictures / f"{still}_L.png"
        Image.fromarray(color_label(np.asarray(Image.open(frame)))).save(label)
        kaggle = packaging == "kaggle"
        files[f"CamVid/{split}/{still}.png" if kaggle else f"701_StillsRaw_full/{still}.png"] = frame.read_bytes()
        files[f"CamVid/{split}_labels/{still}_L.png" if kaggle else f"{still}_L.png"] = label.read_bytes()
    if packaging == "kaggle":
        write_zip(root / "camvid-kaggle.zip", files | {"CamVid/class_dict.csv": b"name,r,g,b\n"})
    else:
        write_zip(root / "701_StillsRaw_full.zip", {name: data for name, data in files.items() if "_L" not in name})
        write_zip(root / "LabeledApproved_full.zip", {name: data for name, data in files.items() if "_L" in name})
    whole = root / "0016E5.zip"
    write_zip(whole, {"0016E5.MXF": (root / "0016E5.MXF").read_bytes()})
    middle = whole.stat().st_size // 2
    (root / "0016E5.zip.001").write_bytes(whole.read_bytes()[:middle])
    (root / "0016E5.zip.002").write_bytes(whole.read_bytes()[middle:])
    for leftover in (whole, root / "0016E5.MXF"):
        leftover.unlink()
    shutil.rmtree(pictures)
    (root / "sequences.csv").write_text(SEQUENCES)
    return root / "sequences.csv"


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
