"""Writes tests/golden/train/omegaconf.json: what a YAML file means to LLaMA-Factory, which reads it with OmegaConf.

    pip install omegaconf==2.4.0 && python omegaconf_golden.py

[{"text", "values"}], without "values" where OmegaConf stops with an error. Interpolation stays as it is written:
LLaMA-Factory 0.9.5 converts the file without resolving it.
"""
import json
import pathlib
import tempfile

from omegaconf import OmegaConf

TEXTS = [
    "a: 1\n---\nb: 2\n", "---\na: 1\n", "---\na: 1\n...\n", "a: 1\n---\n", "a: 1\n---\n# c\n", "a: 1\n...\nb: 2\n",
    "---\n---\na: 1\n", "%YAML 1.1\n---\na: 1\n", "\ufeffa: 1\n", "# c\n", "", "a: 1\r\nb: 2\r\n", "a:\t1\n", "a:\n\tb: 1\n",
    "a: 1\na: 2\n", "a: {x: 1, x: 2}\n", "a: [{x: 1, x: 2}]\n", "a: &x 1\nb: *x\n", "a: &x [1, 2]\nb: *x\n", "a: *x\n", "a: &x [*x]\n",
    "b: &b {x: 1}\na:\n  <<: *b\n  y: 2\n", "<<: {a: 1}\nb: 2\n", "b: &b {x: 1}\na:\n  x: 2\n  <<: *b\n",
    "b: &b {x: 1, z: 3}\nc: &c {x: 4, y: 5}\na:\n  <<: [*b, *c]\n  z: 6\n", "<<: 1\na: 2\n",
    "a: !foo 1\n", "a: !!python/name:os.system\n", "a: !!str 1\n", "a: !!int '3'\n", "? [a]\n: b\n", "a: b: c\n", "a\nb: 1\n", "- a: 1\n",
    "a: x, y\n", "a: [x, y]\n", "a: '[x, y]'\n", "a:\n- x\n- y\n", "a: [0.5, 0.5]\n",
    "a: null\n", "a: ~\n", "a:\n", "a: Null\n", "a: NULL\n", "a: 'null'\n", "a: none\n", "a: None\n", "a: ''\n",
    "a: 1e-4\n", "a: 1.0e-4\n", "a: 1E5\n", "a: 1_000\n", "a: +1\n", "a: .5\n", "a: 5.\n", "a: '1e-4'\n", "a: \"8\"\n", "a: 00.1\n", "a: 0\n",
    "a: 0.0\n", "a: -1\n", "a: 010\n", "a: 0x10\n", "a: 0b11\n", "a: 1:30\n", "a: .inf\n", "a: .nan\n",
    "a: yes\n", "a: no\n", "a: on\n", "a: off\n", "a: True\n", "a: FALSE\n", "a: 'true'\n",
    "a: 2024-01-01\n", "a: C:\\x\n", "a: 1.2.3\n", "a: |\n  x\n  y\n", "a: ${b}\n", "a: {b: \"${c}\"}\n",
]


def main():
    cases = []
    for text in TEXTS:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "case.yaml"
            path.write_bytes(text.encode())
            case = {"text": text}
            try:
                config = OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_cli([]))
                case["values"] = OmegaConf.to_container(config)
                json.dumps(case, allow_nan=False)
            except ValueError:  # infinity and NaN
                case["values"] = {key: str(value) for key, value in case["values"].items()}
            except Exception:
                pass
            cases.append(case)
    out = pathlib.Path(__file__).parent.parent / "golden/train/omegaconf.json"
    out.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
