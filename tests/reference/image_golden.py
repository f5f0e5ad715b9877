"""Writes tests/golden/images/: small image files, whole and broken ones, and golden.json with what Pillow reads of each:
size, mode, CRC-32 of convert("RGB") and of the alpha channel, EXIF orientation, vLLM's pixels on white and on green;
or "refused".

Run:  python tests/reference/image_golden.py
With: pillow 11.3
"""

import io
import json
import random
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

OUT = Path(__file__).resolve().parent.parent / "golden" / "images"
W, H = 21, 17
FILES = {}


def save(image, name, **kwargs):
    data = io.BytesIO()
    image.save(data, format={"tif": "TIFF", "jpg": "JPEG"}.get(name.split(".")[1], name.split(".")[1].upper()), **kwargs)
    FILES[name] = data.getvalue()


def scene():
    y, x = np.mgrid[0:H, 0:W]
    rgb = np.stack([x * 255 // (W - 1), y * 255 // (H - 1), (x * y * 7) % 256], -1)
    rgb[4:9, 3:11] = [250, 30, 20]
    rgb[12] = 0
    rgb[:, 17] = 255
    return rgb.astype(np.uint8)


RGB = scene()
PICTURE = Image.fromarray(RGB)
ALPHA = Image.fromarray(np.clip(np.add.outer(np.arange(H), np.arange(W)) * 9 - 60, 0, 255).astype(np.uint8))
RGBA = PICTURE.copy()
RGBA.putalpha(ALPHA)
GREY = PICTURE.convert("L")
LA = GREY.copy()
LA.putalpha(ALPHA)
PALETTE = PICTURE.quantize(31)
PALETTE12 = PICTURE.quantize(12)
BITS = GREY.convert("1")
CMYK = PICTURE.convert("CMYK")
GREY16 = Image.fromarray(RGB[..., 0].astype(np.uint16) * 3)


def tiff_files():
    kinds = [("rgb", PICTURE, ["raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate"]), ("rgba", RGBA, ["raw", "tiff_lzw"]),
             ("grey", GREY, ["raw", "jpeg"]), ("grey_alpha", LA, ["tiff_deflate"]), ("palette", PALETTE, ["raw", "tiff_lzw"]),
             ("bits", BITS, ["raw", "group3", "group4", "packbits"]), ("cmyk", CMYK, ["tiff_lzw"]), ("grey16", GREY16, ["raw"])]
    for name, image, compressions in kinds:
        for c in compressions:
            save(image, f"{name}_{c}.tif", compression=None if c == "raw" else c)
    for turn in range(2, 9):
        save(PICTURE, f"turned{turn}.tif", compression="tiff_lzw", tiffinfo={274: turn})
    FILES["cut.tif"] = FILES["rgb_raw.tif"][:-400]
    lzw = FILES["rgb_tiff_lzw.tif"]
    FILES["damaged.tif"] = lzw[:60] + b"\xff" * 40 + lzw[100:]


def turned_files():
    for turn, kinds in {6: ["jpg", "png", "webp"], 3: ["jpg"]}.items():
        exif = Image.Exif()
        exif[274] = turn
        for kind in kinds:
            save(PICTURE, f"turned{turn}.{kind}", exif=exif)


def bmp(bits, compression, rows, masks=b"", palette=b"", header=40, top=False, colours=0):
    body = struct.pack("<IiiHHIIiiII", header, W, -H if top else H, 1, bits, compression, len(rows), 2835, 2835, colours, 0)
    body += masks.ljust(header - 40, b"\0") if header > 40 else masks
    offset = 14 + len(body) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + body + palette + rows


def bmp_palette(image, count):
    colours = image.getpalette()[: 3 * count]
    return b"".join(bytes([colours[i + 2], colours[i + 1], colours[i], 0]) for i in range(0, 3 * count, 3))


def run_lengths(indices, four_bits):
    """Runs, literal stretches of odd and even lengths, ends of rows, end of the image."""
    out = b""
    for number, row in enumerate(indices[::-1].tolist()):
        at = 0
        while at < len(row):
            run = 1
            while at + run < len(row) and row[at + run] == row[at]:
                run += 1
            literal = min(len(row) - at, 4 + number % 3 * (not four_bits))
            if run > 1 or literal < 3 or (four_bits and literal % 4):
                out += bytes([run, row[at] * (17 if four_bits else 1)])
                at += run
            elif four_bits:
                out += bytes([0, 4, row[at] << 4 | row[at + 1], row[at + 2] << 4 | row[at + 3]])
                at += 4
            else:
                out += bytes([0, literal]) + bytes(row[at:at + literal]) + b"\0" * (literal % 2)
                at += literal
        out += b"\0\0"
    return out + b"\0\1"


def bmp_files():
    red, green, blue = (RGB[..., c].astype(int) for c in range(3))
    rows16 = lambda v: b"".join((r.astype("<u2").tobytes() + b"\0\0")[: (W * 16 + 31) // 32 * 4] for r in v[::-1])
    v555 = rows16(red >> 3 << 10 | green >> 3 << 5 | blue >> 3)
    FILES["555.bmp"] = bmp(16, 0, v555)
    FILES["555_masks.bmp"] = bmp(16, 3, v555, struct.pack("<III", 0x7C00, 0x3E0, 0x1F))
    v565 = rows16(red >> 3 << 11 | green >> 2 << 5 | blue >> 3)
    FILES["565.bmp"] = bmp(16, 3, v565, struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    FILES["444_masks.bmp"] = bmp(16, 3, v565, struct.pack("<III", 0xF00, 0xF0, 0xF))
    four = np.array(RGBA)[::-1]
    order = lambda *channels: np.ascontiguousarray(four[..., channels]).tobytes()
    FILES["bgra.bmp"] = bmp(32, 3, order(2, 1, 0, 3), struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000), header=56)
    FILES["rgba_v4.bmp"] = bmp(32, 3, order(0, 1, 2, 3), struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000), header=108)
    FILES["bgrx.bmp"] = bmp(32, 0, order(2, 1, 0, 3))
    FILES["no_masks.bmp"] = bmp(32, 3, order(2, 1, 0, 3), bytes(16), header=56)
    FILES["from_top.bmp"] = bmp(24, 0, b"".join(r[:, ::-1].tobytes() + b"\0" * (-W * 3 % 4) for r in RGB), top=True)
    runs = run_lengths(np.array(PALETTE), False)
    table = bmp_palette(PALETTE, 31)
    FILES["rle8.bmp"] = bmp(8, 1, runs, palette=table, colours=31)
    FILES["rle8_jump.bmp"] = bmp(8, 1, b"\x05\x03\0\2\1\1\4\2" + runs, palette=table, colours=31)
    FILES["rle8_ends_early.bmp"] = bmp(8, 1, runs[:-60] + b"\0\1", palette=table, colours=31)
    FILES["rle4.bmp"] = bmp(4, 2, run_lengths(np.array(PALETTE12), True), palette=bmp_palette(PALETTE12, 12), colours=12)
    FILES["beyond_palette.bmp"] = bmp(8, 0, b"".join(bytes((r.tolist() + [0] * 3)[: (W + 3) // 4 * 4]) for r in RGB[..., 0]),
                                      palette=table, colours=31)
    FILES["cut.bmp"] = FILES["bgrx.bmp"][:-30]
    FILES["no_last_padding.bmp"] = FILES["from_top.bmp"][:-1]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth, colour, rows=(), interlaced=0, before=b"", stream=None):
    stream = stream or zlib.compress(b"".join(b"\0" + r for r in rows), 9)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, depth, colour, 0, 0, interlaced))
            + before + chunk(b"IDAT", stream) + chunk(b"IEND", b""))


def packed(values, depth):
    bits = lambda row: "".join(format(v, f"0{depth}b") for v in row)
    padded = [bits(r) + "0" * (-len(r) * depth % 8) for r in values.tolist()]
    return [bytes(int(b[i:i + 8], 2) for i in range(0, len(b), 8)) for b in padded]


def adam7(values, pack):
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    return [row for y, x, dy, dx in passes if values[y::dy, x::dx].size for row in pack(values[y::dy, x::dx])]


def with_byte(data, at, flip):
    at %= len(data)
    return data[:at] + bytes([data[at] ^ flip]) + data[at + 1:]


def png_kinds():
    big_endian = lambda values: [r.astype(">u2").tobytes() for r in values]
    colours = chunk(b"PLTE", bytes(PALETTE12.getpalette()[:36]))
    for depth in (1, 2, 4):
        grey = RGB[..., 0] >> (8 - depth)
        FILES[f"grey{depth}.png"] = png(depth, 0, packed(grey, depth))
        FILES[f"grey{depth}_interlaced.png"] = png(depth, 0, adam7(grey, lambda v: packed(v, depth)), 1)
        FILES[f"palette{depth}.png"] = png(depth, 3, packed(np.minimum(grey, 11), depth), before=colours)
    FILES["beyond_palette.png"] = png(4, 3, packed(RGB[..., 0] >> 4, 4), before=colours)
    FILES["rgb16_interlaced.png"] = png(16, 2, adam7(RGB.astype(int) * 211, big_endian), 1)
    FILES["rgba16.png"] = png(16, 6, big_endian(np.array(RGBA).astype(int) * 250))
    FILES["grey_alpha16.png"] = png(16, 4, big_endian(np.array(LA).astype(int) * 250))
    FILES["palette_alpha.png"] = png(4, 3, packed(np.minimum(RGB[..., 0] >> 4, 11), 4),
                                     before=colours + chunk(b"tRNS", bytes(range(0, 240, 20))))
    save(LA, "grey_alpha.png")
    save(RGBA, "rgba.png")
    FILES["gamma.png"] = png(8, 2, [r.tobytes() for r in RGB], before=chunk(b"gAMA", struct.pack(">I", 20000)))


def png_damage():
    rows = b"".join(b"\0" + r.tobytes() for r in RGB)
    plain = png(8, 2, [r.tobytes() for r in RGB])
    data = plain.index(b"IDAT") + 4
    length = struct.unpack(">I", plain[data - 8:data - 4])[0]
    body, text = plain[data:data + length], chunk(b"tEXt", b"a\0" + b"b" * 20)
    FILES["no_iend.png"] = plain[:-12]
    FILES["half_iend.png"] = plain[:-6]
    FILES["no_checksum.png"] = plain[:-16]
    FILES["wrong_data_checksum.png"] = with_byte(plain, data + length, 1)
    FILES["wrong_stream_checksum.png"] = with_byte(plain, data + length - 1, 1)
    FILES["wrong_header_checksum.png"] = with_byte(plain, 30, 1)
    FILES["wrong_text_checksum_before.png"] = plain[:33] + with_byte(text, -1, 1) + plain[33:]
    FILES["wrong_text_checksum_behind.png"] = plain[:-12] + with_byte(text, -1, 1) + plain[-12:]
    FILES["cut_text_behind.png"] = plain[:-12] + text[:-10]
    FILES["cut_data.png"] = plain[:data + length - 30]
    FILES["short_stream.png"] = png(8, 2, stream=zlib.compress(rows[:600], 9))
    FILES["long_stream.png"] = png(8, 2, stream=zlib.compress(rows + b"more" * 500, 9))
    open_ended = zlib.compressobj(9)
    FILES["stream_without_end.png"] = png(8, 2, stream=open_ended.compress(rows) + open_ended.flush(zlib.Z_FULL_FLUSH))
    FILES["split.png"] = plain[:data - 8] + chunk(b"IDAT", body[:99]) + chunk(b"IDAT", b"") + chunk(b"IDAT", body[99:]) + plain[-12:]
    FILES["interrupted.png"] = plain[:data - 8] + chunk(b"IDAT", body[:99]) + text + chunk(b"IDAT", body[99:]) + plain[-12:]
    FILES["wrong_filter.png"] = png(8, 2, stream=zlib.compress(rows[:64] + b"\5" + rows[65:], 9))


def gif_files():
    save(PALETTE, "interlaced.gif", interlace=1)
    save(PALETTE, "plain.gif", interlace=0)
    save(GREY, "grey.gif")
    plain = FILES["plain.gif"]
    FILES["frame_leaves_screen.gif"] = plain[:6] + struct.pack("<HH", W - 5, H - 4) + plain[10:]
    FILES["no_trailer.gif"] = plain[:-1]
    FILES["cut.gif"] = plain[:-30]
    FILES["damaged.gif"] = with_byte(plain, len(plain) // 2, 0xFF)


def webp_files():
    save(PICTURE, "animated.webp", save_all=True, append_images=[PICTURE.rotate(180)], duration=50)
    save(RGBA, "animated_alpha.webp", save_all=True, append_images=[RGBA.rotate(180)], duration=50, lossless=True)
    save(RGBA, "alpha.webp", lossless=True, exact=True)
    FILES["cut_animation.webp"] = FILES["animated.webp"][:-20]
    FILES["bytes_behind.webp"] = FILES["alpha.webp"] + b"\0" * 9


def jpeg_files():
    save(PICTURE, "plain.jpg")
    save(PICTURE, "progressive.jpg", progressive=True)
    plain = FILES["plain.jpg"]
    for count in (1, 2, 15):
        FILES[f"cut{count}.jpg"] = plain[:-count]
    FILES["cut_progressive.jpg"] = FILES["progressive.jpg"][:-15]
    FILES["bytes_behind.jpg"] = plain + b"xx"
    FILES["bytes_between.jpg"] = plain[:20] + b"\0junk" + plain[20:]
    scan = plain.index(b"\xff\xda")
    FILES["ends_in_marker.jpg"] = plain[:scan + 60] + b"\xff\xd9"


def random_damage():
    """Ten files with a few random bytes that Pillow still reads, and ten that it refuses."""
    chance, names = random.Random(13), sorted(FILES)
    read = refused = 0
    while read < 10 or refused < 10:
        name = chance.choice(names)
        data = bytearray(FILES[name])
        for _ in range(3):
            data[chance.randrange(min(len(data), 400))] = chance.randrange(256)
        found = look(bytes(data))
        if found == "refused" and refused < 10:
            refused += 1
        elif found != "refused" and read < 10 and found["width"] * found["height"] < 10000 and name.split(".")[1] != "tif":
            read += 1
        else:
            continue
        FILES[f"random{read + refused}.{name.split('.')[1]}"] = bytes(data)


def crc(array):
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def on_background(image, colour):
    """vLLM's convert_image_mode: RGBA is put on a background, every other mode is converted."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    out = Image.new("RGB", image.size, colour)
    out.paste(image, mask=image.split()[3])
    return out


def look(data):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data))
            orientation = 1 if image.format == "TIFF" else image.getexif().get(274, 1)
            image.load()
            alpha = crc(np.array(image.getchannel("A"))) if image.mode in ("RGBA", "LA") else 0
            return dict(width=image.width, height=image.height, mode=image.mode, rgb=crc(np.array(image.convert("RGB"))),
                        alpha=alpha, orientation=orientation, on_white=crc(np.array(on_background(image, (255, 255, 255)))),
                        on_green=crc(np.array(on_background(image, (0, 160, 0)))))
    except Exception:
        return "refused"


if __name__ == "__main__":
    for write in (tiff_files, turned_files, bmp_files, png_kinds, png_damage, gif_files, webp_files, jpeg_files, random_damage):
        write()
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    for name, data in FILES.items():
        (OUT / name).write_bytes(data)
    values = {name: look(data) for name, data in sorted(FILES.items())}
    (OUT / "golden.json").write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in values.items()) + "\n}\n")
