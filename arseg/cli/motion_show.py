"""``arseg motion show``: draw motion vectors over the frames."""

from pathlib import Path

from arseg.codecs import find_codec
from arseg.errors import ConfigError
from arseg.motion.extract import open_frames
from arseg.options import FIGURE_SUFFIXES, Count, Output, Video
from arseg.plots.motion_field import motion_fields
from arseg.plots.motion_show import draw_motion_sheet, draw_motion_video
from arseg.provenance.recording import records

VIDEOS = (".mp4", ".mkv", ".mov")


@records("motion show", inputs=["video"], outputs=["output"])
def show(
    video: Video,
    *,
    output: Output,
    composed: bool = False,
    num_frames: Count = 6,
    max_px: float | None = None,
    max_frames: Count | None = None,
) -> None:
    """Draw the motion vectors of a video over its frames.

    Parameters
    ----------
    video : str
        Video whose codec's motion is read (docs/motion.md): a file, a network address, or - for standard input.
    output : Path
        What to write: a video (.mp4, .mkv, .mov), or a sheet of frames spread over the video (.png, .pdf, .svg).
    composed : bool
        Draw the motion to the latest keyframe, instead of the vectors as they are coded.
    num_frames : int
        Frames on a sheet.
    max_px : float
        Length in pixels that has the full colour; by default that of nearly the longest vectors.
    max_frames : int
        How many frames to read; all by default.
    """
    suffix = output.suffix.lower()
    if suffix not in (*FIGURE_SUFFIXES, *VIDEOS):
        raise ConfigError(
            f"--output {output}: cannot draw to {suffix or 'a name without suffix'}. Name a video "
            f"({', '.join(VIDEOS)}) or a sheet ({', '.join(FIGURE_SUFFIXES)})"
        )
    if max_px is not None and not max_px > 0:
        raise ConfigError(f"--max-px {max_px:g}: expected a length above 0")
    with open_frames(video, max_frames) as (stream, frames):
        fields = motion_fields(frames, composed=composed)
        if suffix in VIDEOS:
            draw_motion_video(
                fields,
                output,
                composed=composed,
                stream=stream,
                max_px=max_px,
                max_frames=max_frames,
            )
        else:
            codec = find_codec(stream.codec)
            label = codec.label if codec else stream.codec
            what = "motion to the keyframe" if composed else "motion vectors"
            draw_motion_sheet(
                fields,
                output,
                title=f"{'standard input' if video == '-' else Path(video).name} ({label}): {what}",
                composed=composed,
                num_frames=num_frames,
                max_px=max_px,
            )
    print(f"wrote {output}")
