"""Writes tests/golden/train/similarity.json: BLEU-4 and ROUGE as LLaMA-Factory computes them (train/sft/metric.py,
ComputeSimilarity), for pairs of predicted and wanted text, and the words that jieba cuts texts into.

    pip install jieba==0.42.1 nltk rouge_chinese==1.0.3 && python similarity_golden.py

"by_character" pairs hold ideographs: there every one is a word, as in include/lamina/text/segment.hpp, which has no
dictionary; their scores are rouge_chinese's for that segmentation.
"""
import json
import pathlib
import random
import re

import jieba
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_chinese import Rouge

TABLE = "Departures\n\n| Line | To |\n| --- | --- |\n| R1 | Delhi |\n| U5 | Quito |\n| S4 | Cairo |\n"
PAIRS = [
    (TABLE, TABLE),
    (TABLE.rstrip(), TABLE),
    (TABLE.replace("Quito", "Lima").replace("R1", "R7"), TABLE),
    ("", TABLE), (TABLE, ""), ("", ""), (" \n", TABLE), ("\u3000", "a b"),
    ("David" * 20, TABLE),
    ("the cat sat on the mat", "the cat is on the mat"),
    ("abc", "abd"), ("a", "a"), ("ab", "ab"), ("abc", "abc"), ("b", "a"), ("aaaa", "a"),
    ("Is it? Yes. No!", "Is it? Yes. No!\n"),
    ("a?\n\nb", "a?\n\nb\n"), ("x\n\n\ny ? ? z", "x\ny ? z"), ("??", "? ?"),
    ("wait......what", "wait...... what?"), ("-.......-", "- ....... -"), (".............", "......"),
    ("3.14% of 12.5.7 1,234.50 v1.2.3-rc_4", "3.14 % of 12.5 1,234.5 v1.2.3"),
    ("C++ and c# at AT&T, abc++d C+ AT&", "C++, C#, AT&T"),
    ("caf\u00e9 na\u00efve \u00fcber 10\u20ac", "cafe\u0301 naive uber 10 \u20ac"),
    ("\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440", "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440"),
    ("tabs\tand\r\nlines\x1c\u00a0x", "tabs and\nlines x"),
    ("emoji \U0001f600\U0001f600", "emoji \U0001f600"),
    ("\u3053\u3093\u306b\u3061\u306f", "\u3053\u3093\u3070\u3093\u306f"),
]
BY_CHARACTER = [
    ("\u5408\u8ba1\uff1a12.50\u5143\u3002", "\u5408\u8ba1: 12.5 \u5143\u3002\n"),
    ("\u5317\u4eac\u5f88\u5927\u3002\u4eba\u591a\uff01\u662f\u5417\uff1f\u662f\u3002", "\u5317\u4eac\u5927\u3002\n\u4eba\u591a\u3002"),
    ("T\u6064 AA\u5236", "T\u6064AA\u5236"),
]


def by_character(text):
    words = []
    for part in re.split("([\u4e00-\u9fd5])", text):
        words += [part] if re.fullmatch("[\u4e00-\u9fd5]", part) else list(jieba.cut(part))
    return [word for word in words if word]


def similarity(predicted, label, cut):
    hypothesis, reference = list(cut(predicted)), list(cut(label))
    if not " ".join(hypothesis).split() or not " ".join(reference).split():
        rouge = {name: {"f": 0.0} for name in ("rouge-1", "rouge-2", "rouge-l")}
    else:
        rouge = Rouge().get_scores(" ".join(hypothesis), " ".join(reference))[0]
    scores = {name: round(value["f"] * 100, 4) for name, value in rouge.items()}
    bleu = sentence_bleu([list(label)], list(predicted), smoothing_function=SmoothingFunction().method3)
    return {"predict": predicted, "label": label, "words": hypothesis, "bleu-4": round(bleu * 100, 4), **scores}


def main():
    random.seed(7)
    pieces = list("ab12.%-_+#&?!,| \n") + ["......", "c++", "C#", "AT&T", "word", "0.5", "  "]
    for _ in range(60):
        predicted = [random.choice(pieces) for _ in range(random.randrange(1, 30))]
        label = [piece if random.random() < 0.7 else random.choice(pieces) for piece in predicted]
        PAIRS.append(("".join(predicted), "".join(label)))
    cases = [similarity(p, l, jieba.cut) for p, l in PAIRS] + [similarity(p, l, by_character) for p, l in BY_CHARACTER]
    out = pathlib.Path(__file__).parent.parent / "golden/train/similarity.json"
    out.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print(f"{out}: {len(cases)} pairs")


if __name__ == "__main__":
    main()
