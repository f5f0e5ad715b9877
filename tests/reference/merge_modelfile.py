"""Writes tests/golden/merge/Modelfile.<template> with LLaMA-Factory 0.9.5 itself.

    python tests/reference/merge_modelfile.py QWEN3_TOKENIZER_DIR tests/golden/merge
"""

import sys
from pathlib import Path

from llamafactory.data.template import TEMPLATES
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
for name in ("qwen3_vl", "qwen3_vl_nothink", "qwen2_vl"):
    TEMPLATES[name].fix_special_tokens(tokenizer)
    (Path(sys.argv[2]) / f"Modelfile.{name}").write_text(TEMPLATES[name].get_ollama_modelfile(tokenizer))
