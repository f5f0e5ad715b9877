"""Writes tests/golden/merge/Modelfile.<template> with LLaMA-Factory 0.9.5 itself.

    python tests/reference/merge_modelfile.py QWEN3_TOKENIZER_DIR tests/golden/merge
"""

import importlib.machinery
import sys
import types
from pathlib import Path

# LLaMA-Factory imports torchaudio, which no text template uses and which must match torch's build exactly.
sys.modules["torchaudio"] = types.ModuleType("torchaudio")
sys.modules["torchaudio"].__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)

from llamafactory.data.template import TEMPLATES
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
for name in ("qwen3_vl", "qwen3_vl_nothink", "qwen2_vl", "qwen", "qwen3", "qwen3_nothink"):
    TEMPLATES[name].fix_special_tokens(tokenizer)
    (Path(sys.argv[2]) / f"Modelfile.{name}").write_text(TEMPLATES[name].get_ollama_modelfile(tokenizer))
