"""Writes tests/golden/train/llamafactory_keys.json: every key that a training file of LLaMA-Factory 0.9.5 with
transformers 5.6 may set.

    python tests/reference/key_names.py
"""
import dataclasses
import json
import os
import pathlib

os.environ.setdefault("DISABLE_VERSION_CHECK", "1")

import llamafactory_run

llamafactory_run.stand_in_for_torchaudio()
from llamafactory.hparams import DataArguments, FinetuningArguments, GeneratingArguments, ModelArguments
from llamafactory.hparams.training_args import TrainingArguments

classes = [ModelArguments, DataArguments, FinetuningArguments, GeneratingArguments, TrainingArguments]
names = sorted({field.name for one in classes for field in dataclasses.fields(one) if field.init})
out = pathlib.Path(__file__).parent.parent / "golden/train/llamafactory_keys.json"
out.write_text(json.dumps(names, indent=0) + "\n")
