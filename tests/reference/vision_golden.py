"""Writes tests/golden/vision/: small pictures in every format, and golden.json with what Pillow, torchvision,
LLaMA-Factory and transformers make of them. Large arrays are kept as CRC-32 of their bytes plus a few samples.

Run:  python tests/reference/vision_golden.py [folder with LLaMA-Factory's mllm_demo_data]
With: pillow 11.3, torch 2.10 (CPU with AVX2), torchvision 0.25, transformers 5.6.0, llamafactory 0.9.5
"""

import json
import struct
import sys
import types
import zlib
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import torch
# LLaMA-Factory's plugin module imports torchaudio for sound, which no picture needs.
sys.modules["torchaudio"] = types.ModuleType("torchaudio")
sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)

from llamafactory.data.mm_plugin import get_mm_plugin
from PIL import Image
from torchvision.transforms.v2 import functional as tvf
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

OUT = Path(__file__).resolve().parent.parent / "golden" / "vision"

FAMILIES = {
    "qwen2_5_vl": dict(min_pixels=3136, max_pixels=12845056, patch_size=14),
    "qwen3_vl": dict(size={"shortest_edge": 65536, "longest_edge": 16777216}, patch_size=16,
                     image_mean=[0.5] * 3, image_std=[0.5] * 3),
}
PROCESSORS = {name: Qwen2VLImageProcessor(**kwargs) for name, kwargs in FAMILIES.items()}
# Limits for stage A on the 61 x 47 pictures: untouched, smaller, larger, one side under 28.
LIMITS = [(1, 10**9), (1, 1500), (20000, 10**9), (1, 1000), (4000, 1500)]


def crc(array):
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def noise(count):
    """The same bytes as noise() in tests/vision/golden.hpp."""
    v = np.arange(count, dtype=np.uint64) * 2654435761 & 0xFFFFFFFF
    v ^= v >> 15
    v = v * 2246822519 & 0xFFFFFFFF
    v ^= v >> 13
    return (v >> 24).astype(np.uint8)


def scene(w=61, h=47):
    """Slopes, edges and noise."""
    y, x = np.mgrid[0:h, 0:w]
    rgb = np.stack([x * 255 // (w - 1), y * 255 // (h - 1), (x * y) % 256], -1)
    rgb[10:25, 8:30] = [250, 30, 20]
    rgb[30:34, :] = 0
    rgb[:, 45:47] = 255
    speckle = noise(h * w * 3).reshape(h, w, 3).astype(int) // 8
    return np.clip(rgb + speckle - 16, 0, 255).astype(np.uint8)


def png_bytes(w, h, depth, colour, rows, interlace=0):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    raw = b"".join(b"\0" + r for r in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlace))
            + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def adam7(pixels):
    """Rows of an interlaced 8-bit RGB picture."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    return [row.tobytes() for y, x, dy, dx in passes for row in pixels[y::dy, x::dx]]


def write_pictures():
    rgb = scene()
    h, w, _ = rgb.shape
    picture = Image.fromarray(rgb)
    yy, xx = np.mgrid[0:h, 0:w]
    alpha = Image.fromarray(np.clip((xx + yy) * 4 - 60, 0, 255).astype(np.uint8))
    rgba = picture.copy()
    rgba.putalpha(alpha)
    grey = picture.convert("L")
    la = grey.copy()
    la.putalpha(alpha)
    palette = picture.quantize(31)
    bits = grey.convert("1")
    OUT.mkdir(parents=True, exist_ok=True)
    save = lambda image, name, **kw: image.save(OUT / name, **kw)
    save(picture, "baseline_420.jpg", quality=80)
    save(picture, "baseline_422.jpg", quality=85, subsampling=1)
    save(picture, "baseline_444.jpg", quality=92, subsampling=0)
    save(picture, "progressive.jpg", quality=75, progressive=True)
    save(grey, "grey.jpg", quality=80)
    save(picture.convert("CMYK"), "cmyk.jpg", quality=85)
    save(picture, "rgb.png")
    save(rgba, "rgba.png")
    save(la, "grey_alpha.png")
    save(grey, "grey.png")
    save(palette, "palette.png")
    save(palette, "palette_transparent.png", transparency=3)
    save(bits, "bits.png")
    (OUT / "rgb16.png").write_bytes(png_bytes(w, h, 16, 2, [r.astype(">u2").tobytes() for r in rgb.astype(int) * 211]))
    (OUT / "grey16.png").write_bytes(png_bytes(w, h, 16, 0, [r.astype(">u2").tobytes() for r in rgb[..., 0].astype(int) * 3]))
    (OUT / "grey4.png").write_bytes(png_bytes(60, h, 4, 0, [bytes((r[0:60:2] // 16 * 16 + r[1:60:2] // 16).tolist()) for r in rgb[..., 1]]))
    (OUT / "interlaced.png").write_bytes(png_bytes(w, h, 8, 2, adam7(rgb), 1))
    save(palette, "animated.gif", save_all=True, append_images=[picture.rotate(180).quantize(20), bits], duration=50)
    save(palette, "transparent.gif", transparency=5)
    save(grey, "grey.gif")
    small = bytearray((OUT / "transparent.gif").read_bytes())
    small[6:10] = struct.pack("<HH", w + 9, h + 4)  # a canvas larger than its frame
    (OUT / "bare_canvas.gif").write_bytes(bytes(small))
    save(picture, "rgb.bmp")
    save(palette, "palette.bmp")
    save(grey, "grey.bmp")
    save(bits, "bits.bmp")
    save(picture, "lossy.webp", quality=80)
    save(picture, "lossless.webp", lossless=True)
    save(rgba, "alpha_lossy.webp", quality=80)
    save(rgba, "alpha_lossless.webp", lossless=True, exact=True)


def patches_of(image):
    out = {}
    for name, processor in PROCESSORS.items():
        result = processor([image], return_tensors="pt")
        values = result["pixel_values"].numpy()
        flat = values.reshape(-1)
        at = np.linspace(0, flat.size - 1, 12).astype(int)
        out[name] = dict(grid=result["image_grid_thw"][0].tolist(), row_length=values.shape[1], crc=crc(values),
                         at=at.tolist(), samples=[float(flat[i]) for i in at])
    return out


def describe(path):
    with Image.open(path) as opened:
        opened.load()
        plain = opened.convert("RGB")
        plugin = get_mm_plugin("qwen2_vl", image_token="<|image_pad|>")
        limited = []
        for low, high in LIMITS:
            done = plugin._preprocess_image(opened.copy(), image_max_pixels=high, image_min_pixels=low)
            limited.append(dict(min_pixels=low, max_pixels=high, width=done.width, height=done.height,
                                crc=crc(np.array(done)), patches=patches_of(done) if (low, high) == LIMITS[0] else None))
        return dict(file=path.name, mode=opened.mode, width=plain.width, height=plain.height, crc=crc(np.array(plain)),
                    samples=np.array(plain).reshape(-1)[:: max(1, plain.width * plain.height * 3 // 24)].tolist(),
                    limited=limited)


def resizes():
    """Noise resized by Pillow and by torchvision: sizes met in training, and awkward ones."""
    cases = [(300, 168, 308, 168), (300, 168, 352, 192), (300, 199, 320, 224), (64, 64, 256, 256), (64, 64, 56, 56),
             (640, 480, 591, 443), (591, 443, 588, 448), (1920, 1080, 682, 384), (1000, 4, 1000, 28), (20, 20, 32, 32),
             (3, 5, 224, 320), (1, 1, 56, 56), (2, 300, 56, 308), (1024, 768, 96, 64), (700, 500, 32, 480),
             (97, 89, 448, 448), (500, 400, 250, 200), (257, 129, 64, 32), (333, 777, 252, 588), (256, 256, 512, 512)]
    out = []
    for w, h, to_w, to_h in cases:
        pixels = noise(w * h * 3).reshape(h, w, 3)
        pillow = np.array(Image.fromarray(pixels).resize((to_w, to_h), Image.BICUBIC))
        tensor = tvf.pil_to_tensor(Image.fromarray(pixels))
        torchvision = tvf.resize(tensor, [to_h, to_w], tvf.InterpolationMode.BICUBIC, antialias=True)
        torchvision = torchvision.permute(1, 2, 0).numpy()
        out.append(dict(width=w, height=h, to_width=to_w, to_height=to_h, pillow=crc(pillow), torch=crc(torchvision),
                        differing=int((pillow != torchvision).sum())))
    return out


def patches_of_noise():
    out = []
    for w, h in [(300, 168), (64, 64), (480, 640), (100, 30), (29, 300), (1000, 28), (336, 336), (450, 333)]:
        image = Image.fromarray(noise(w * h * 3).reshape(h, w, 3))
        out.append(dict(width=w, height=h, patches=patches_of(image)))
    return out


def main():
    assert torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"), "torch's uint8 kernel needs AVX2"
    write_pictures()
    golden = dict(files=[describe(p) for p in sorted(OUT.iterdir()) if p.suffix != ".json"], resizes=resizes(),
                  noise=patches_of_noise(), demo=[])
    if len(sys.argv) > 1:
        golden["demo"] = [describe(p) for p in sorted(Path(sys.argv[1]).glob("*.jpg"))]
    (OUT / "golden.json").write_text(json.dumps(golden, separators=(",", ":")).replace('{"file"', '\n{"file"') + "\n")


main()
