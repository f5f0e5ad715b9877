"""Every field that the JSON files of a model, and of an adapter, are known to hold: tests/golden/checkpoint/fields.json.

    python tests/reference/config_fields.py

Collected from transformers' and PEFT's own classes, and from the released files and the files that transformers 5 saves
(tests/golden/checkpoint/layouts, data/). What lamina makes of each is in model/config/fields.hpp,
checkpoint/generation_fields.hpp, checkpoint/adapter/fields.hpp and vision/processor_fields.hpp, which tests hold against this
list.
"""

import dataclasses
import inspect
import json
import pathlib

import peft
import transformers
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.processing_utils import ImagesKwargs, ProcessorMixin

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYOUTS = ROOT / "tests/golden/checkpoint/layouts"
FAMILIES = {"qwen3_vl": transformers.Qwen3VLConfig, "qwen2_5_vl": transformers.Qwen2_5_VLConfig}
# PretrainedConfig of transformers 4.57, which wrote the released files: what to_dict() adds and __init__ takes.
CONFIG_OF_4_57 = """return_dict output_hidden_states output_attentions torchscript dtype torch_dtype use_bfloat16
tf_legacy_loss pruned_heads tie_word_embeddings chunk_size_feed_forward is_encoder_decoder is_decoder
cross_attention_hidden_size add_cross_attention tie_encoder_decoder architectures finetuning_task id2label label2id
tokenizer_class prefix bos_token_id pad_token_id eos_token_id sep_token_id decoder_start_token_id task_specific_params
problem_type _name_or_path transformers_version model_type max_length min_length do_sample early_stopping num_beams
num_beam_groups diversity_penalty temperature top_k top_p typical_p repetition_penalty length_penalty
no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores
return_dict_in_generate forced_bos_token_id forced_eos_token_id remove_invalid_values exponential_decay_length_penalty
suppress_tokens begin_suppress_tokens _attn_implementation_autoset""".split()


def of_class(config_class) -> set:
    names = {field.name for field in dataclasses.fields(config_class)} | set(config_class().to_dict())
    return names | set(CONFIG_OF_4_57)


def files(family: str) -> list:
    paths = [path for path in sorted(LAYOUTS.glob("*.json")) if path.name.startswith(family)]
    paths += [path / "config.json" for path in sorted((ROOT / "data").glob(f"{family}_*"))]
    return [json.loads(path.read_text()) for path in paths]


def family_fields(family: str) -> dict:
    top_class = FAMILIES[family]
    text_class, vision_class = (top_class.sub_configs[name] for name in ("text_config", "vision_config"))
    fields = {"config": of_class(top_class), "text_config": of_class(text_class), "vision_config": of_class(vision_class)}
    fields["rope"] = {"rope_theta", "rope_type", "type", "mrope_section", "mrope_interleaved", "partial_rotary_factor"}
    for file in files(family):
        text = file.get("text_config", file)
        fields["config"] |= set(file)
        fields["text_config"] |= set(file.get("text_config", {}))
        fields["vision_config"] |= set(file["vision_config"])
        fields["rope"] |= set(text.get("rope_parameters") or text["rope_scaling"])
    return {level: sorted(names) for level, names in fields.items()}


def image_fields() -> list:
    names = set(Qwen2VLImageProcessor().to_dict()) | set(ImagesKwargs.__annotations__)
    names |= set(Qwen2VLImageProcessor.valid_kwargs.__annotations__)
    for path in sorted((ROOT / "data").glob("*/preprocessor_config.json")):
        names |= set(json.loads(path.read_text()))
    return sorted(names)


def processor_fields() -> list:
    names = {"processor_class", "image_processor", "video_processor", "tokenizer", "chat_template", "auto_map"}
    for cls in (transformers.Qwen3VLProcessor, transformers.Qwen2_5_VLProcessor):
        names |= set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"}
    return sorted(names)


def main() -> None:
    assert issubclass(transformers.Qwen3VLProcessor, ProcessorMixin)
    golden = {
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        **{family: family_fields(family) for family in FAMILIES},
        "preprocessor_config": image_fields(),
        "size": ["height", "longest_edge", "max_height", "max_pixels", "max_width", "min_pixels", "shortest_edge", "width"],
        "processor_config": processor_fields(),
        "generation_config": sorted(transformers.GenerationConfig().to_dict()),
        "adapter_config": sorted(field.name for field in dataclasses.fields(peft.LoraConfig)),
    }
    path = ROOT / "tests/golden/checkpoint/fields.json"
    path.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
