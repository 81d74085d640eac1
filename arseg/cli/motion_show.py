"""``arseg motion show``: draw motion vectors over the pictures."""

from pathlib import Path

from arseg.errors import ConfigError
from arseg.motion.video import open_frames
from arseg.options import FIGURE_SUFFIXES, Count, Output, Video
from arseg.plots.motion_field import motion_fields
from arseg.plots.motion_sheet import draw_motion_sheet
from arseg.plots.motion_video import draw_motion_video
from arseg.plots.style import CODECS
from arseg.provenance.recording import records

VIDEOS = (".mp4", ".mkv", ".mov")


@records("motion show", inputs=["video"], outputs=["output"])
def show(
    video: Video,
    *,
    output: Output,
    composed: bool = False,
    num_pictures: Count = 6,
    max_px: float | None = None,
    max_frames: Count | None = None,
) -> None:
    """Draw the motion vectors of a video over its pictures.

    Parameters
    ----------
    video : str
        H.264, HEVC, MPEG-4 part 2, MPEG-2 or MPEG-1 video: a file, a network address, or - for standard input.
    output : Path
        What to write: a video (.mp4, .mkv, .mov), or a sheet of pictures spread over the video (.png, .pdf, .svg).
    composed : bool
        Draw the motion to the latest keyframe, instead of the vectors as they are coded.
    num_pictures : int
        Pictures on a sheet.
    max_px : float
        Length in pixels that has the full colour; by default that of nearly the longest vectors.
    max_frames : int
        How many pictures to read; all by default.
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
                max_px=max_px,
                frames_per_second=stream.frames_per_second,
                max_frames=max_frames,
            )
        else:
            codec = CODECS.get(stream.codec, stream.codec)
            what = "motion to the keyframe" if composed else "motion vectors"
            draw_motion_sheet(
                fields,
                output,
                title=f"{'standard input' if video == '-' else Path(video).name} ({codec}): {what}",
                composed=composed,
                num_pictures=num_pictures,
                max_px=max_px,
            )
    print(f"wrote {output}")
