"""Writes data/qwen3_vl_nano/: every file of a model directory but the weights, which pretrain.sh makes.

    python examples/nano/make_model.py          needs the tokenizers library only

The layout is that of Qwen3-VL, shared with tests/reference/make_tiny.py. The tokenizer is a byte-level BPE of 320
tokens: 256 bytes, merges, Qwen's added tokens. Its corpus is the markup of tables and nothing else, so that markup takes
few tokens while letters and digits stay single: a model of this size reads signs, not words.
"""

import copy
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "reference"))

import make_tiny
from make_tiny import PLAIN, QWEN3_CONFIG, QWEN3_ONLY, QWEN3_PREPROCESSOR, QWEN3_VIDEO_PREPROCESSOR, SPECIAL

VOCAB_SIZE = 320
TINY_TOKENS = {tiny_id: token for token, tiny_id in make_tiny.ID.items()}
DIRECTORY = HERE.parents[1] / "data" / "qwen3_vl_nano"
MARKUP = [
    "| 0 | 0 |\n| --- | ---: |\n| :--- | :---: |\n|---|---|\n",
    "<0>\n<0></0>\n</0></0><0>",
    '0: 0, 0; 0 / 0 = 0 -> "0", \'0\'\n\n- 0\n* 0\n',
    '{"0": "0", "0": ["0", "0"], "0": 0}\n```\n0. 0? 0! (0) [0]\n==== ---- ____ ....',
]


def config() -> dict:
    """The sizes of qwen3_vl::Qwen3VL_Nano (include/lamina/model/qwen3_vl/sizes.hpp)."""
    nano = copy.deepcopy(QWEN3_CONFIG)
    nano.update({name: make_tiny.ID[TINY_TOKENS[tiny_id]] for name, tiny_id in make_tiny.SPECIAL_IDS.items()})
    nano["text_config"].update(
        bos_token_id=make_tiny.ID["<|endoftext|>"],
        eos_token_id=make_tiny.ID["<|im_end|>"],
        dtype="bfloat16",
        head_dim=64,
        hidden_size=192,
        intermediate_size=384,
        max_position_embeddings=4096,
        num_attention_heads=3,
        num_hidden_layers=5,
        num_key_value_heads=1,
        rope_scaling={"mrope_interleaved": True, "mrope_section": [12, 10, 10], "rope_type": "default"},
        rope_theta=10000,
        vocab_size=VOCAB_SIZE,
    )
    nano["vision_config"].update(
        deepstack_visual_indexes=[1, 2, 4],
        depth=6,
        hidden_size=128,
        intermediate_size=512,
        num_heads=2,
        num_position_embeddings=256,
        out_hidden_size=192,
    )
    return nano


def main() -> None:
    added = SPECIAL + PLAIN + QWEN3_ONLY
    make_tiny.BASE_SIZE = VOCAB_SIZE - len(added)
    make_tiny.ID = {token: make_tiny.BASE_SIZE + i for i, token in enumerate(added)}
    make_tiny.tiny_corpus.documents = lambda: MARKUP
    make_tiny.DATA = DIRECTORY.parent
    eos = {
        "bos_token_id": make_tiny.ID["<|endoftext|>"],
        "pad_token_id": make_tiny.ID["<|endoftext|>"],
        "eos_token_id": [make_tiny.ID["<|im_end|>"], make_tiny.ID["<|endoftext|>"]],
    }
    pixels = {"size": {"longest_edge": 65536, "shortest_edge": 4096}}  # 4 to 64 tokens an image
    make_tiny.MODELS = {
        DIRECTORY.name: {
            "plain": PLAIN + QWEN3_ONLY,
            "family": "qwen3_vl",
            "files": {
                "config.json": config(),
                "preprocessor_config.json": QWEN3_PREPROCESSOR | pixels,
                "video_preprocessor_config.json": QWEN3_VIDEO_PREPROCESSOR,
                "generation_config.json": eos | {"do_sample": False, "transformers_version": "4.57.0"},
            },
        }
    }
    make_tiny.write_directories()


if __name__ == "__main__":
    main()
