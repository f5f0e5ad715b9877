"""Makes a drawn image look like a photograph of a sheet of paper: perspective, uneven light, blur, JPEG artefacts.

    python examples/nano/photo.py data/tables/heldout_0000.png photo.jpg        needs Pillow and numpy
"""

import sys

import numpy as np
from PIL import Image, ImageFilter

MARGIN, SLANT = 20, 14  # pixels


def perspective(source: list, target: list) -> list:
    """The eight coefficients that Pillow wants, from four corners of the target to four of the source."""
    rows = []
    for (x, y), (u, v) in zip(target, source):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.linalg.solve(np.array(rows, float), np.array(source, float).reshape(8)).tolist()


def main() -> None:
    picture = Image.open(sys.argv[1]).convert("RGB")
    w, h = picture.size
    size = (w + 2 * MARGIN, h + 2 * MARGIN)
    corners = [(0, 0), (w, 0), (w, h), (0, h)]
    seen = [
        (MARGIN + SLANT, MARGIN),
        (MARGIN + w - SLANT // 2, MARGIN + SLANT // 2),
        (MARGIN + w, MARGIN + h - SLANT // 2),
        (MARGIN, MARGIN + h),
    ]
    photo = picture.transform(size, Image.Transform.PERSPECTIVE, perspective(corners, seen), Image.Resampling.BICUBIC, fillcolor=(96, 72, 56))
    light = np.linspace(0.7, 1.05, size[0])[None, :, None]
    photo = Image.fromarray(np.clip(np.asarray(photo) * light, 0, 255).astype(np.uint8))
    photo.filter(ImageFilter.GaussianBlur(0.9)).save(sys.argv[2], quality=40)


if __name__ == "__main__":
    main()
