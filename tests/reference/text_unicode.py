#!/usr/bin/env python3
"""What the `tokenizers` library takes each code point for, and where utf8proc differs.

    python3 tests/reference/text_unicode.py

Writes tests/golden/text/unicode.json: ranges of \\p{L}, \\p{N}, \\s of its regex engine (Oniguruma, Unicode 16), and
of the code points that its NFC (Unicode 9) moves behind a combining mark of lower class. Prints the two tables of
include/lamina/text/tokenizer/unicode_tables.hpp: the differences to the installed utf8proc. Needs `tokenizers` and libutf8proc.
"""
import ctypes
import ctypes.util
import json
import pathlib

from tokenizers import Regex, normalizers, pre_tokenizers

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden" / "text" / "unicode.json"
SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
utf8proc = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
utf8proc.utf8proc_version.restype = ctypes.c_char_p
utf8proc.utf8proc_unicode_version.restype = ctypes.c_char_p
utf8proc.utf8proc_NFD.restype = ctypes.c_void_p


class Property(ctypes.Structure):
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


utf8proc.utf8proc_get_property.restype = ctypes.POINTER(Property)


def nfd(text):
    return ctypes.string_at(utf8proc.utf8proc_NFD(text.encode())).decode()


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def matched_by(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return {c for c in SCALARS if not split.pre_tokenize_str(chr(c))}


def moves(text, nfc=normalizers.NFC()):
    return nfc.normalize_str(text) != text


def print_table(name, points):
    print(f"inline constexpr CodePointRange {name}[] = {{")
    row = "    " + ", ".join(f"{{0x{a:04x}, 0x{b:04x}}}" for a, b in ranges(points))
    print(row + "};")


letters, numbers, spaces = matched_by(r"\p{L}"), matched_by(r"\p{N}"), matched_by(r"\s")
# A mark of class > 1 gives way to U+0334 (class 1); one of class 1 passes before U+0301 (class 230).
marks = {c for c in SCALARS if c != 0 and (moves("q" + chr(c) + "\u0334") or moves("q\u0301" + chr(c)))}
marks -= {c for c in marks if moves(chr(c))}  # those that normalise to other code points by themselves

category = {c: utf8proc.utf8proc_get_property(c).contents.category for c in SCALARS}  # 1-5 are L*, 9-11 are N*
known_letters = {c for c in SCALARS if 1 <= category[c] <= 5}
known_numbers = {c for c in SCALARS if 9 <= category[c] <= 11}
assert known_letters <= letters and known_numbers <= numbers, "utf8proc has letters that Oniguruma lacks"
young = {c for c in SCALARS if utf8proc.utf8proc_get_property(c).contents.combining_class and c not in marks
         and nfd(chr(c)) == chr(c)}
for c in SCALARS[1:]:
    parts = nfd(chr(c))
    if parts != chr(c) and not moves(chr(c)) and not moves(parts):  # a composition that its NFC does not know
        young |= {c, ord(parts[-1])}

OUT.write_text(json.dumps({"letters": ranges(letters), "numbers": ranges(numbers), "spaces": ranges(spaces),
                           "marks": ranges(marks)}, separators=(",", ":")) + "\n")
print("// utf8proc", utf8proc.utf8proc_version().decode(), "Unicode", utf8proc.utf8proc_unicode_version().decode())
print_table("letters_since_unicode_15", letters - known_letters)
print_table("numbers_since_unicode_15", numbers - known_numbers)
print_table("marks_since_unicode_9", young)
