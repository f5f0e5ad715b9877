#!/usr/bin/env python3
"""Token ids of the `tokenizers` library, for tests/text.

    python3 tests/reference/text_golden.py QWEN3_TOKENIZER_DIR

Writes into tests/golden/text/:
lines.txt  one case a line: "<mode> <hash of ids> <hash of decoded text> <text>"; mode r: control tokens recognised,
           t: content, in which control tokens are text (encode_special_tokens); hashes are 32-bit FNV-1a in hex, over the ids as 4 bytes little-endian each, and
           over the UTF-8 of decode(ids, skip_special_tokens=False); the text has \\n, \\r and \\\\ escaped.
decode.json  random ids and their text, with and without special tokens.
tiny_json/, tiny_vocab/  a small tokenizer of our own in both file layouts, with cases.json: text, ids.
Needs `tokenizers`. The same version writes the same files.
"""
import json
import pathlib
import random
import shutil
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "golden" / "text"
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
           r"|\s+(?!\S)|\s+")
# First and last code point of scripts, signs and oddities.
BLOCKS = [(0x20, 0x7E), (0xA1, 0xFF), (0x100, 0x24F), (0x250, 0x2AF), (0x2B0, 0x2FF), (0x370, 0x3FF), (0x400, 0x52F),
          (0x531, 0x58F), (0x591, 0x5F4), (0x600, 0x6FF), (0x700, 0x74F), (0x780, 0x7B1), (0x7C0, 0x7FF),
          (0x840, 0x8FF), (0x900, 0x97F), (0x980, 0x9FE), (0xA00, 0xA76), (0xA80, 0xAFF), (0xB00, 0xB77),
          (0xB80, 0xBFA), (0xC00, 0xC7F), (0xC80, 0xCF3), (0xD00, 0xD7F), (0xD80, 0xDF4), (0xE00, 0xE5B),
          (0xE80, 0xEDF), (0xF00, 0xFDA), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x139F),
          (0x13A0, 0x13FF), (0x1400, 0x167F), (0x1680, 0x16F8), (0x1700, 0x17F9), (0x1800, 0x18AF), (0x1900, 0x1AFF),
          (0x1B00, 0x1CFF), (0x1D00, 0x1DFF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFE), (0x2000, 0x206F), (0x2070, 0x20C0),
          (0x20D0, 0x20F0), (0x2100, 0x218B), (0x2190, 0x23FF), (0x2400, 0x27BF), (0x27C0, 0x2BFF), (0x2C00, 0x2DFF),
          (0x2E00, 0x2E5D), (0x2E80, 0x2FFB), (0x3000, 0x30FF), (0x3105, 0x31FF), (0x3200, 0x33FF), (0x3400, 0x4DBF),
          (0x4E00, 0x9FFF), (0xA000, 0xA4C6), (0xA4D0, 0xA82C), (0xA840, 0xABF9), (0xAC00, 0xD7A3), (0xD7B0, 0xD7FB),
          (0xE000, 0xF8FF), (0xF900, 0xFAD9), (0xFB00, 0xFDFF), (0xFE00, 0xFE6B), (0xFE70, 0xFEFF), (0xFF01, 0xFFEE),
          (0xFFF0, 0xFFFF), (0x10000, 0x101FD), (0x10280, 0x10FFF), (0x11000, 0x11FFF), (0x12000, 0x1254F),
          (0x13000, 0x143FF), (0x16800, 0x16FFF), (0x17000, 0x18CFF), (0x1B000, 0x1BCA3), (0x1D000, 0x1D7FF),
          (0x1E000, 0x1EFFF), (0x1F000, 0x1FAFF), (0x1FBF0, 0x1FBF9), (0x20000, 0x2A6DF), (0x2EBF0, 0x323AF),
          (0xE0001, 0xE01EF), (0xF0000, 0x10FFFF)]
SPACES = ["\t", "\n", "\v", "\f", "\r", "\r\n", " ", "  ", "    ", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u2003",
          "\u2028", "\u2029", "\u200b", "\u202f", "\u205f", "\u3000", "\ufeff"]
EMOJI = ["😀", "👍🏽", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵", "1️⃣", "❤️", "☎︎", "🫠", "🧑🏿‍🚀", "‍", "️", "🏻"]
MARKS = [*map(chr, range(0x300, 0x370)), "\u0591", "\u05b0", "\u064b", "\u0670", "\u093c", "\u094d", "\u09be",
         "\u0b56", "\u0c56", "\u0dca", "\u0dcf", "\u0e38", "\u0f71", "\u0f72", "\u102e", "\u302a", "\u3099", "\u309a",
         "\u0898", "\u08d3", "\u1abf", "\u1df6", "\U00011930", "\U0001e130", "\u20d2", "\u1dc0", "\ufe20"]
CONTRACTIONS = ["'s", "'S", "'t", "'T", "'re", "'RE", "'rE", "'ve", "'VE", "'m", "'M", "'ll", "'LL", "'Ll", "'d", "'D",
                "'ſ", "'ſt", "’s", "'x", "'l", "'r", "'v", "''s", "'é", "'s'", "'ß", "'K"]
CODE = ["for (int i = 0; i < n; ++i) {", "    return x[i] * 0x1F;", "\t\tif not self._ready:", "#include <vector>",
        "SELECT * FROM t WHERE a='b' -- note", "</div>\r\n<br/>", "def f(x: int = 3) -> list[str]:", "a->b::c<d>()",
        "https://example.org/p?q=1&r=%20#frag", "user@example.org", "{\"k\": [1, 2.5e-3, null]}", "$ ls -la | grep x",
        "!!!???", "======", "x+=1;y--;", "\\alpha_{i}^{2}", "// TODO(me): fix", "/* c */", "@@ -1,3 +1,4 @@", "~/.bashrc",
        "printf(\"%d\\n\", x);", "λ x → x", "#!/bin/sh", "a\\nb", "1,234,567.89", "2024-02-29T23:59:60Z", "0b1010_1010",
        "α²+β₃≠½", "Ⅷ", "①②③", "٣٤٥", "१२३", "৪৫", "㊿", "𝟘𝟙", "CamelCaseIdentifier", "snake_case_name", "$100", "50%"]
PROSE = ["The quick brown fox jumps over the lazy dog", "I'll say they're here; we've won, it's John's, I'd go, I'm ok",
         "Zażółć gęślą jaźń", "Příliš žluťoučký kůň", "Съешь ещё этих мягких французских булок", "天地玄黃宇宙洪荒",
         "いろはにほへと ちりぬるを", "カタカナ ｶﾀｶﾅ", "다람쥐 헌 쳇바퀴에 타고파", "نص حكيم له سر قاطع", "דג סקרן שט בים",
         "ऋषियों को सताने वाले", "เป็นมนุษย์สุดประเสริฐ", "Việt Nam đất nước tôi", "Ξεσκεπάζω την ψυχοφθόρα", "ğüşiöç ıİ",
         "ქართული ენა", "Հայերեն լեզու", "አማርኛ ቋንቋ", "தமிழ் மொழி", "ភាសាខ្មែរ", "བོད་ཡིག", "ﬁ ﬂ ﬃ ſ Å Ω K", "Ǆ ǅ ǆ"]
NEAR_CONTROL = ["<|im_end", "|im_end|>", "<|IM_END|>", "<|im_end|", "< |im_end|>", "<<|im_end|>>", "<|im_<|im_end|>",
                "<|endoftext|><|endoftext|>", "<think", "</think>\n\n", "<tool_call>\n{", "<|", "<"]


def fnv(data):
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def hash_ids(ids):
    return fnv(b"".join(i.to_bytes(4, "little") for i in ids))


def scalar(rng, block):
    while True:
        c = rng.randint(*block)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def chunk(rng, vocabulary, control):
    """A few characters or words of one of many kinds."""
    kind = rng.randrange(13)
    if kind == 0:
        block = rng.choice(BLOCKS)
        return "".join(scalar(rng, block) for _ in range(rng.randint(1, 8)))
    if kind == 1:
        return "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 5)))
    if kind == 2:
        return rng.choice(EMOJI)
    if kind == 3:
        base = scalar(rng, rng.choice([(0x41, 0x7A), (0xC0, 0x17F), (0x391, 0x3C9), (0x410, 0x44F), (0x3041, 0x30FF),
                                       (0x905, 0x939), (0xAC00, 0xD7A3), (0x1100, 0x1112)]))
        return base + "".join(rng.choice(MARKS) for _ in range(rng.randint(1, 4)))
    if kind == 4:
        return unicodedata.normalize(rng.choice(["NFD", "NFKD"]), rng.choice(PROSE))[: rng.randint(3, 30)]
    if kind == 5:
        return rng.choice(["word", "It", "I", "9", " ", ""]) + rng.choice(CONTRACTIONS)
    if kind == 6:
        return rng.choice(CODE)
    if kind == 7:
        words = rng.choice(PROSE).split(" ")
        return " ".join(words[: rng.randint(1, len(words))])
    if kind == 8:
        return rng.choice(control if rng.random() < 0.6 else NEAR_CONTROL)
    if kind == 9:
        return str(rng.randint(0, 10 ** rng.randint(1, 12)))
    if kind == 10:
        return chr(rng.choice([0, 1, 7, 8, 0x1B, 0x7F, 0x80, 0x9F, 0xAD, 0x61C, 0x200E, 0x2060, 0xFFF9, 0xFFFD, 0xFFFF]))
    return "".join(rng.choice(vocabulary) for _ in range(rng.randint(1, 4)))


def make_lines(tokenizer, rng):
    count = tokenizer.get_vocab_size(with_added_tokens=False)
    vocabulary = [text for text in (tokenizer.decode([i]) for i in range(0, count, 3)) if "\ufffd" not in text]
    control = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    lines = ["", *PROSE, *CODE, *CONTRACTIONS, *control, *NEAR_CONTROL, *EMOJI, *SPACES]
    lines += [a + b + c for a in SPACES for b in SPACES for c in ("", "x", "'s", "1", "!", "é")][::3]
    lines += [chr(c) + rng.choice(["", "a", " ", "\u0301", "1"]) for block in BLOCKS for c in
              sorted(rng.sample(range(block[0], block[1] + 1), min(16, block[1] - block[0])))]
    lines += ["a" * 3000, " " * 2000 + "x", "\n" * 500, "ab" * 700 + "'s", "\u0301\u0316" * 300, "é" * 500, "漢字" * 300,
              "9" * 300, "!" * 1000 + "\n\n", "<|im_start|>" * 40, "Zalgo" + "".join(MARKS) * 2, "가" * 200, "ㄱㅏ" * 100]
    while len(lines) < 22000:
        lines.append("".join(chunk(rng, vocabulary, control) for _ in range(rng.randint(1, 4))))
    return lines


CONTROL = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"}


def content_tokenizer(tokenizer):
    """The same tokenizer, in which only CONTROL is special, and special tokens are text."""
    data = json.loads(tokenizer.to_str())
    for token in data["added_tokens"]:
        token["special"] = token["content"] in CONTROL
    out = Tokenizer.from_str(json.dumps(data))
    out.encode_special_tokens = True
    return out


def write_lines(tokenizer, rng):
    content = content_tokenizer(tokenizer)
    with open(OUT / "lines.txt", "w", encoding="utf-8", newline="") as out:
        for number, text in enumerate(make_lines(tokenizer, rng)):
            mode = "t" if number % 5 == 4 else "r"
            ids = (content if mode == "t" else tokenizer).encode(text, add_special_tokens=False).ids
            decoded = fnv(tokenizer.decode(ids, skip_special_tokens=False).encode())
            escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
            out.write(f"{mode} {hash_ids(ids):08x} {decoded:08x} {escaped}\n")


def write_decode(tokenizer, rng, name):
    cases = []
    for _ in range(150):
        low = rng.choice([0, 0, 0, tokenizer.get_vocab_size(False) - 3])
        ids = [rng.randint(low, rng.choice([255, tokenizer.get_vocab_size() - 1])) if low == 0 else
               rng.randint(low, tokenizer.get_vocab_size() - 1) for _ in range(rng.randint(1, 14))]
        cases.append({"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=False),
                      "skipped": tokenizer.decode(ids, skip_special_tokens=True)})
    (OUT / name).write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def make_tiny():
    tiny = Tokenizer(models.BPE())
    tiny.normalizer = normalizers.NFC()
    tiny.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"),
                                                  pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tiny.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tiny.train_from_iterator(PROSE * 2 + CODE, trainer)
    tiny.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in
                             ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>"]])
    tiny.add_tokens([AddedToken(t, normalized=False) for t in ["<think>", "</think>", "<think>>", "naïve tag é"]])
    tiny.add_tokens([AddedToken("éa", normalized=True)])
    return tiny


def write_tiny(rng):
    tiny = make_tiny()
    for name in ("tiny_json", "tiny_vocab"):
        shutil.rmtree(OUT / name, ignore_errors=True)
        (OUT / name).mkdir(parents=True)
    data = json.loads(tiny.to_str())
    (OUT / "tiny_json" / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False, indent=0) + "\n")
    vocab, merges = data["model"]["vocab"], data["model"]["merges"]
    (OUT / "tiny_vocab" / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False) + "\n")
    merges = "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n"
    (OUT / "tiny_vocab" / "merges.txt").write_text(merges)
    added = {str(t.pop("id")): t for t in data["added_tokens"]}
    config = {"added_tokens_decoder": added, "tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>"}
    (OUT / "tiny_vocab" / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n")
    control = [t["content"] for t in added.values()] + ["e\u0301a", "<think>>>"]
    lines = PROSE + CODE + CONTRACTIONS + EMOJI + NEAR_CONTROL + ["a" * 200, "é" * 100, "x " * 60]
    lines += ["".join(chunk(rng, PROSE, control) for _ in range(rng.randint(1, 4))) for _ in range(300)]
    content = content_tokenizer(tiny)
    cases = [{"text": text, "ids": tiny.encode(text).ids, "as_text": content.encode(text).ids} for text in lines]
    (OUT / "tiny_cases.json").write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n")
    write_decode(tiny, rng, "tiny_decode.json")


def main():
    rng = random.Random(20240229)
    tokenizer = Tokenizer.from_file(str(pathlib.Path(sys.argv[1]) / "tokenizer.json"))
    write_lines(tokenizer, rng)
    write_decode(tokenizer, rng, "decode.json")
    write_tiny(rng)


if __name__ == "__main__":
    main()
