"""Small videos, and what PyAV, LLaMA-Factory and transformers read of them: tests/golden/video/.

    python tests/reference/video_golden.py [--videos]

With --videos (and PyAV's encoders) also the videos themselves: a grey ramp over which a square moves.

video.json, per video
  facts       of the container: frames (0: it does not say), seconds (null: likewise), fps, width, height
  frames      FNV-1a 64 of the RGB bytes of each frame as VideoFrame.to_image() has it
  training    per family and setting of LLaMA-Factory: indices, grid, second_per_grid, timestamps (its own rounding),
              FNV-1a 64 of the patches as little-endian fp32
  answering   per family: the same by transformers' own processor, at its default rate and others
choices       frame choices of transformers' processors for many lengths and rates
sizes         grids of clips of many sizes
"""

import argparse
import json
import math
import pathlib

import numpy as np

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden/video"
ROOT = GOLDEN.parents[2]
#          frames, rate, width, height
VIDEOS = {
    "moving.mp4": (31, 10, 96, 64),
    "moving.mkv": (23, 8, 64, 48),
    "wide.ts": (20, 25, 160, 32),
    "short.mp4": (1, 10, 48, 48),
}


def write_videos() -> None:
    import av

    for name, (count, rate, width, height) in VIDEOS.items():
        container = av.open(str(GOLDEN / name), "w")
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "30", "threads": "1", "x264-params": "sei=0"}
        for i in range(count):
            image = np.zeros((height, width, 3), np.uint8)
            image[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)[None, :]
            image[..., 1] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
            image[..., 2] = 5 * i
            x, y = (3 * i) % (width - 16), (2 * i) % (height - 16)
            image[y : y + 16, x : x + 16] = (255, 255 - 4 * i, 0)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
        container.close()


def write_frames() -> None:
    """The first frames of a video as images, for lists of frames."""
    for i, image in enumerate(decoded("moving.mp4")[::4][:5]):
        image.save(GOLDEN / f"frame_{i}.png", optimize=True)


def decoded(name: str) -> list:
    import av

    with av.open(str(GOLDEN / name)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def digest(array) -> int:
    import deterministic_weights

    return deterministic_weights.fnv1a64(np.ascontiguousarray(array).tobytes())


def facts(name: str) -> dict:
    import av

    with av.open(str(GOLDEN / name)) as container:
        stream = container.streams.video[0]
        seconds = None if stream.duration is None else float(stream.duration * stream.time_base)
        return {
            "frames": stream.frames,
            "seconds": seconds,
            "fps": float(stream.average_rate),
            "width": stream.width,
            "height": stream.height,
        }


PROCESSORS = {}


def processor_of(family: str):
    if family not in PROCESSORS:
        from transformers import AutoProcessor

        PROCESSORS[family] = AutoProcessor.from_pretrained(ROOT / f"data/{family}_tiny")
    return PROCESSORS[family]


SETTINGS = [
    {},
    {"video_max_pixels": 2048},
    {"video_fps": 4.0, "video_maxlen": 5},
    {"video_min_pixels": 20000, "video_fps": 0.5},
]


def training(name: str, family: str, settings: dict) -> dict:
    from llamafactory.data.mm_plugin import get_mm_plugin

    processor = processor_of(family)
    for key, value in {"video_max_pixels": 65536, "video_min_pixels": 256, "video_fps": 2.0, "video_maxlen": 128}.items():
        setattr(processor, key, settings.get(key, value))
    plugin = get_mm_plugin({"qwen3_vl": "qwen3_vl", "qwen2_5_vl": "qwen2_vl"}[family], image_token="<|image_pad|>", video_token="<|video_pad|>")
    plugin._get_video_token_metadata = lambda *_: None  # it takes the frames of a stream that counts none to be 128
    try:
        inputs = plugin._get_mm_inputs([], [str(GOLDEN / name)], [], processor)
    except ValueError as error:  # transformers 5.6 refuses sides below 32, later ones scale them up
        return {"settings": settings, "refused": str(error)}
    known = facts(name)
    counts_itself = known["frames"] > 0 or known["seconds"] is None
    text = plugin.process_messages([{"role": "user", "content": "<video>"}], [], [str(GOLDEN / name)], [], processor)
    return {
        "settings": settings,
        "grid": inputs["video_grid_thw"][0].tolist(),
        "second_per_grid": inputs["second_per_grid_ts"][0] if family == "qwen2_5_vl" and counts_itself else None,
        "text": text[0]["content"].replace("<|video_pad|>", ""),
        "patches": digest(inputs["pixel_values_videos"].numpy().astype("<f4")),
    }


def answering(name: str, family: str, wanted: dict) -> dict:
    processor, images, known = processor_of(family), decoded(name), facts(name)
    metadata = {"total_num_frames": len(images), "fps": known["fps"], "duration": len(images) / known["fps"]}
    video = np.stack([np.asarray(image) for image in images])
    out = processor(
        text=["<|vision_start|><|video_pad|><|vision_end|>"],
        videos=[video],
        video_metadata=[metadata],
        do_sample_frames=True,
        return_metadata=True,
        return_tensors="pt",
        **wanted,
    )
    return {
        "wanted": wanted,
        "indices": [int(i) for i in out["video_metadata"][0].frames_indices][: len(images)],
        "grid": out["video_grid_thw"][0].tolist(),
        "second_per_grid": float(out["second_per_grid_ts"][0]) if "second_per_grid_ts" in out else None,
        "text": processor.decode(out["input_ids"][0]).replace("<|video_pad|>", ""),
        "patches": digest(out["pixel_values_videos"].numpy().astype("<f4")),
    }


def choices() -> list:
    from transformers.video_utils import VideoMetadata

    rows = []
    for family in ("qwen3_vl", "qwen2_5_vl"):
        video = processor_of(family).video_processor
        for total in (4, 5, 7, 30, 31, 100, 101, 240, 243, 997, 3000, 40000):
            for rate in (8.0, 10.0, 23.976023976023978, 25.0, 29.97002997002997, 60.0):
                for fps in (0.5, 1, 2, 3.3):
                    metadata = VideoMetadata(total_num_frames=total, fps=rate)
                    try:
                        indices = [int(i) for i in video.sample_frames(metadata=metadata, fps=fps)]
                    except (ValueError, ZeroDivisionError):
                        continue
                    rows.append([family, total, rate, fps, len(indices), digest(np.asarray(indices, "<i8"))])
    return rows


def sizes() -> list:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize as each
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as whole

    rows = []
    for frames in (2, 3, 5, 8, 20, 129, 768):
        for width, height in ((40, 32), (33, 90), (320, 240), (640, 360), (1280, 720), (1920, 1080), (3840, 2160), (2000, 64)):
            resized = whole(num_frames=frames, height=height, width=width, temporal_factor=2, factor=32, min_pixels=4096, max_pixels=25165824)
            rows.append(["qwen3_vl", frames, width, height, *resized])
            rows.append(["qwen2_5_vl", frames, width, height, *each(height, width, 28, 3136, 12845056)])
    return rows


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--videos", action="store_true", help="write the videos too")
    if arguments.parse_args().videos:
        GOLDEN.mkdir(exist_ok=True)
        write_videos()
        write_frames()
    import llamafactory_run

    llamafactory_run.stand_in_for_torchaudio()
    videos = {}
    for name in VIDEOS:
        known = facts(name)
        videos[name] = {
            "facts": known,
            "frames": [digest(np.asarray(image)) for image in decoded(name)],
            "training": {f: [training(name, f, s) for s in SETTINGS] for f in ("qwen3_vl", "qwen2_5_vl")},
            "answering": {}
            if len(decoded(name)) < 4
            else {
                f: [answering(name, f, w) for w in ({"fps": 2}, {"fps": 5}, {"fps": None, "num_frames": 6})]
                for f in ("qwen3_vl", "qwen2_5_vl")
            },
        }
    lines = [f'"videos": {json.dumps(videos, indent=1)}']
    for key, rows in (("choices", choices()), ("sizes", sizes())):
        lines.append(f'"{key}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]")
    (GOLDEN / "video.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
