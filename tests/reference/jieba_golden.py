"""Writes tests/golden/text/jieba/: a small dictionary and word model of our own, and the words that jieba cuts texts
into with them.

    pip install jieba==0.42.1 && python jieba_golden.py

dict.txt             words and frequencies, in the form of jieba's dictionary
finalseg/prob_*.py   a hidden Markov model, in the form of jieba's; its numbers are drawn here
cuts.json            [{"text", "words", "without_model"}]: with the model, and with the dictionary alone
"""
import json
import pathlib
import random

import jieba
import jieba.finalseg

OUT = pathlib.Path(__file__).parent.parent / "golden/text/jieba"
WORDS = """研究 120|研究生 90|生命 110|命 60|起源 40|的 3000|北京 300|北京大学 50|大学 200|大学生 80|学生 150|前来 30|来 400|应聘 20
中国 500|中国人 90|人民 120|国人 15|人 900|天气 60|今天 130|今 20|很 300|好 400|系统 70|统 12|编号 15|在 800|公园 40|园里 3|里 200
看 180|花 100|春天 50|天来 2|小明 5|明 30|了 1500|第一 90|一所 10|第 60|一 900|所 200|综合 40|综合性 20|性 80|B超 3|C++ 5|AT&T 3|T恤 4
有 700|有意 30|意见 60|见 90|分歧 20|意见分歧 6|他 500|说 400|的确 50|确实 45|实 30|在理 8|理 40""".replace("\n", "|").split("|")
TEXTS = ["研究生命的起源", "北京大学生前来应聘", "今天天气很好。", "春天来了，小明在公园里看花。", "他说的确实在理", "有意见分歧", "中国人民在北京大学看花花花",
         "用C++写的系统编号3.14%，AT&T和B超、T恤", "北京大学创建于1898年，是中国近代第一所综合性大学。", "鑫淼焱垚", "王小明了", "花", "", " \r\n\t", "abc 研究x生",
         "研究生研究生命命命", "的的的的", "一-二_三.四%五+六#七&八", "㐀龥龦〇", "今天\u3000天气", "x研究 y12.5z研", "１２３全角", "系统\ufffd\ufffd研究", "😀小明😀"]


def draw_model(characters):
    """Probabilities of states and characters; a third of the characters is unknown to a state."""
    draw = lambda: -random.uniform(0.1, 9)
    start = {"B": -0.3, "E": -3.14e100, "M": -3.14e100, "S": -1.4}
    change = {"B": {"E": -0.5, "M": -0.9}, "E": {"B": -0.6, "S": -0.8}, "M": {"E": -0.3, "M": -1.3}, "S": {"B": -0.7, "S": -0.7}}
    emit = {state: {c: draw() for c in characters if random.random() < 0.67} for state in "BEMS"}
    return start, change, emit


def main():
    random.seed(11)
    (OUT / "finalseg").mkdir(parents=True, exist_ok=True)
    (OUT / "dict.txt").write_text("".join(f"{word} n\n" for word in WORDS), encoding="utf-8")
    characters = sorted({c for text in TEXTS + WORDS for c in text if "\u4e00" <= c <= "\u9fd5"})
    texts = TEXTS + ["".join(random.choice(characters + list("，。a1 ")) for _ in range(random.randrange(2, 24)))
                     for _ in range(60)]
    model = draw_model(characters)
    for name, values in zip(("start", "trans", "emit"), model):
        (OUT / f"finalseg/prob_{name}.py").write_text("P=" + ascii(values) + "\n")
    jieba.finalseg.start_P, jieba.finalseg.trans_P, jieba.finalseg.emit_P = model
    tokenizer = jieba.Tokenizer(str(OUT / "dict.txt"))
    tokenizer.cache_file = str(OUT / "cache.tmp")
    cuts = []
    for text in texts:
        cuts.append({"text": text, "words": list(tokenizer.cut(text)),
                     "without_model": [w for w in cut_without_model(tokenizer, text)]})
    (OUT / "cuts.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cuts) + "\n]\n")
    pathlib.Path(tokenizer.cache_file).unlink(missing_ok=True)


def cut_without_model(tokenizer, text):
    """As jieba, but a run of unknown ideographs is cut into characters: what can be done without prob_*.py."""
    original = jieba.finalseg.__dict__["__cut"]
    jieba.finalseg.__dict__["__cut"] = lambda run: iter(run)
    try:
        return list(tokenizer.cut(text))
    finally:
        jieba.finalseg.__dict__["__cut"] = original


if __name__ == "__main__":
    main()
