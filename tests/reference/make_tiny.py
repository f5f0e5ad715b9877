"""Writes data/qwen3_vl_tiny/ and data/qwen2_5_vl_tiny/: every file of a model directory but the weights.

    python tests/reference/make_tiny.py                 needs the tokenizers library only
    python tests/reference/make_tiny.py --weights DIR   also writes DIR/<model>/ with weights by rule
                                                        (deterministic_weights.py), as transformers saves them

The tokenizer is a byte-level BPE with Qwen's normaliser, pre-tokenizer and added tokens, trained on tiny_corpus.py.
4096 rows: 256 bytes, merges, then Qwen's added tokens in their own order (Qwen2.5 has no <tool_response>, <think>).
"""

import argparse
import json
import pathlib
import shutil

import tiny_corpus
from released_template import released_template
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parents[1] / "data"
VOCAB_SIZE = 4096
SPECIAL = """<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|>
<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>""".split()
PLAIN = """<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|>
<|file_sep|>""".split()
QWEN3_ONLY = "<tool_response> </tool_response> <think> </think>".split()
BASE_SIZE = VOCAB_SIZE - len(SPECIAL + PLAIN + QWEN3_ONLY)
ID = {token: BASE_SIZE + i for i, token in enumerate(SPECIAL + PLAIN + QWEN3_ONLY)}
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix=""))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=BASE_SIZE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(tiny_corpus.documents(), trainer)
    if tokenizer.get_vocab_size() != BASE_SIZE:
        raise SystemExit(f"the corpus gives {tokenizer.get_vocab_size()} tokens, {BASE_SIZE} wanted: lengthen it")
    return tokenizer


def add_tokens(tokenizer: Tokenizer, plain: list[str]) -> None:
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])


def tokenizer_config(plain: list[str], template: str) -> dict:
    added = {
        str(ID[token]): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": token in SPECIAL,
        }
        for token in SPECIAL + plain
    }
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": SPECIAL[1:],
        "bos_token": None,
        "chat_template": template,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 32768,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


SPECIAL_IDS = {
    "image_token_id": ID["<|image_pad|>"],
    "video_token_id": ID["<|video_pad|>"],
    "vision_start_token_id": ID["<|vision_start|>"],
    "vision_end_token_id": ID["<|vision_end|>"],
}

QWEN3_CONFIG = {  # nested, as Qwen3-VL is released
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "image_token_id": SPECIAL_IDS["image_token_id"],
    "model_type": "qwen3_vl",
    "text_config": {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": ID["<|endoftext|>"],
        "dtype": "float32",
        "eos_token_id": ID["<|im_end|>"],
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 256,
        "initializer_range": 0.02,
        "intermediate_size": 768,
        "max_position_embeddings": 32768,
        "model_type": "qwen3_vl_text",
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
        "rope_theta": 5000000,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": VOCAB_SIZE,
    },
    "tie_word_embeddings": True,
    "transformers_version": "4.57.0",
    "video_token_id": SPECIAL_IDS["video_token_id"],
    "vision_config": {
        "deepstack_visual_indexes": [0, 1, 2],
        "depth": 4,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 256,
        "in_channels": 3,
        "initializer_range": 0.02,
        "intermediate_size": 512,
        "model_type": "qwen3_vl",
        "num_heads": 4,
        "num_position_embeddings": 256,
        "out_hidden_size": 256,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
    "vision_end_token_id": SPECIAL_IDS["vision_end_token_id"],
    "vision_start_token_id": SPECIAL_IDS["vision_start_token_id"],
}

QWEN2_5_CONFIG = {  # flat, as Qwen2.5-VL is released
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "attention_dropout": 0.0,
    "bos_token_id": ID["<|endoftext|>"],
    "eos_token_id": ID["<|im_end|>"],
    "vision_start_token_id": SPECIAL_IDS["vision_start_token_id"],
    "vision_end_token_id": SPECIAL_IDS["vision_end_token_id"],
    "vision_token_id": ID["<|vision_pad|>"],
    "image_token_id": SPECIAL_IDS["image_token_id"],
    "video_token_id": SPECIAL_IDS["video_token_id"],
    "hidden_act": "silu",
    "hidden_size": 256,
    "initializer_range": 0.02,
    "intermediate_size": 768,
    "max_position_embeddings": 32768,
    "max_window_layers": 4,
    "model_type": "qwen2_5_vl",
    "num_attention_heads": 2,
    "num_hidden_layers": 4,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "transformers_version": "4.41.2",
    "use_cache": True,
    "use_sliding_window": False,
    "vision_config": {
        "depth": 4,
        "hidden_act": "silu",
        "hidden_size": 160,
        "intermediate_size": 340,
        "num_heads": 2,
        "in_chans": 3,
        "out_hidden_size": 256,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [1, 3],
        "tokens_per_second": 2,
        "temporal_patch_size": 2,
    },
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vocab_size": VOCAB_SIZE,
}

QWEN3_PREPROCESSOR = {
    "size": {"longest_edge": 16777216, "shortest_edge": 65536},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "Qwen3VLProcessor",
    "image_processor_type": "Qwen2VLImageProcessorFast",
}
QWEN3_VIDEO_PREPROCESSOR = {
    "size": {"longest_edge": 25165824, "shortest_edge": 4096},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "Qwen3VLProcessor",
    "video_processor_type": "Qwen3VLVideoProcessor",
}
QWEN2_5_PREPROCESSOR = {
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor",
}
EOS = {
    "bos_token_id": ID["<|endoftext|>"],
    "pad_token_id": ID["<|endoftext|>"],
    "eos_token_id": [ID["<|im_end|>"], ID["<|endoftext|>"]],
}
MODELS = {
    "qwen3_vl_tiny": {
        "plain": PLAIN + QWEN3_ONLY,
        "family": "qwen3_vl",
        "files": {
            "config.json": QWEN3_CONFIG,
            "preprocessor_config.json": QWEN3_PREPROCESSOR,
            "video_preprocessor_config.json": QWEN3_VIDEO_PREPROCESSOR,
            "generation_config.json": EOS
            | {
                "do_sample": True,
                "top_k": 20,
                "top_p": 0.8,
                "repetition_penalty": 1.0,
                "temperature": 0.7,
                "transformers_version": "4.56.0",
            },
        },
    },
    "qwen2_5_vl_tiny": {
        "plain": PLAIN,
        "family": "qwen2_5_vl",
        "files": {
            "config.json": QWEN2_5_CONFIG,
            "preprocessor_config.json": QWEN2_5_PREPROCESSOR,
            "generation_config.json": EOS
            | {
                "do_sample": True,
                "repetition_penalty": 1.05,
                "temperature": 0.000001,
                "transformers_version": "4.49.0",
            },
        },
    },
}


def write_json(path: pathlib.Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_directories() -> None:
    base = train_tokenizer().to_str()
    for name, model in MODELS.items():
        directory = DATA / name
        directory.mkdir(parents=True, exist_ok=True)
        tokenizer = Tokenizer.from_str(base)
        add_tokens(tokenizer, model["plain"])
        for token in SPECIAL + model["plain"]:
            assert tokenizer.token_to_id(token) == ID[token], token
        (directory / "tokenizer.json").write_text(tokenizer.to_str(pretty=False) + "\n", encoding="utf-8")
        template = released_template(model["family"])
        write_json(directory / "tokenizer_config.json", tokenizer_config(model["plain"], template))
        write_json(directory / "chat_template.json", {"chat_template": template})
        for file, value in model["files"].items():
            write_json(directory / file, value)


def write_weights(target: pathlib.Path) -> None:
    """Whole model directories in `target`: the files of data/ beside a model.safetensors."""
    import deterministic_weights
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForImageTextToText

    for name in MODELS:
        directory = target / name
        shutil.copytree(DATA / name, directory, dirs_exist_ok=True)
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(directory), dtype=torch.float32)
        deterministic_weights.load_into(model)
        tensors = {key: value.detach().contiguous() for key, value in model.named_parameters()}
        if name == "qwen2_5_vl_tiny":  # released files keep the names of transformers < 4.52
            tensors = {
                key.replace("model.visual.", "visual.").replace("model.language_model.", "model."): value
                for key, value in tensors.items()
            }
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--weights", type=pathlib.Path, help="write whole model directories below this folder")
    options = arguments.parse_args()
    if options.weights:
        write_weights(options.weights)
    else:
        write_directories()


if __name__ == "__main__":
    main()
