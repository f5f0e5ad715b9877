"""LLaMA-Factory's losses under one setting after another, tiny models on CPU in fp32: tests/golden/losses/<run>.json.

    python tests/reference/losses_golden.py [--run NAME ...]

settings   what differs from BASE, as LLaMA-Factory and lamina-train read it; whoever uses the golden puts folders of
           their own for the model and output_dir, data/ for media_dir and tests/golden/losses for dataset_dir
base       BASE itself, with the model's name
history    log_history of trainer_state.json: loss, grad_norm, learning_rate and epoch of each step, all digits
trained    per saved tensor: L2 norm after the last step
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile

import llamafactory_run
import make_tiny
import torch

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden/losses"
BASE = {
    "model_name_or_path": "qwen3_vl_tiny",
    "image_max_pixels": 65536,
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_rank": 4,
    "dataset": "mixed",
    "template": "qwen3_vl_nothink",
    "cutoff_len": 512,
    "overwrite_output_dir": True,
    "report_to": "none",
    "logging_steps": 1,
    "save_strategy": "no",
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1.0e-3,
    "max_steps": 10,
    "lr_scheduler_type": "constant",
    "use_cpu": True,
}
PACKED = {"cutoff_len": 320, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
NEAT = PACKED | {"neat_packing": True}
# torch decomposes in fp32, where neighbouring singular values of random weights are close: at 1e-3 that alone moves
# losses by 1e-4.
PISSA = {"pissa_init": True, "pissa_iter": -1, "pissa_convert": True, "learning_rate": 1.0e-4}
DPO = {"stage": "dpo", "dataset": "pairs", "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}
KTO = {"stage": "kto", "dataset": "judged", "per_device_train_batch_size": 3}
# At 1e-3 one element whose first gradient is nearly 0 moves losses by 2e-4: Adam's first step has its sign alone.
QLORA = {"quantization_bit": 4, "quantization_method": "bnb", "learning_rate": 1.0e-4}
# accelerate dispatches streamed batches cut by the rows of their first tensor, and images with them, which have others.
STREAM = {"streaming": True, "dataloader_num_workers": 1, "accelerator_config": {"dispatch_batches": False}}
VIDEOS = {"dataset": "videos", "video_fps": 4.0, "video_maxlen": 10, "video_max_pixels": 4096}
RUNS = {
    "batch_of_three": {"per_device_train_batch_size": 3},
    "batch_of_three_qwen2_5": {
        "model_name_or_path": "qwen2_5_vl_tiny",
        "template": "qwen2_vl",
        "per_device_train_batch_size": 3,
    },
    "disable_shuffling": {"disable_shuffling": True, "per_device_train_batch_size": 2},
    "packing": PACKED | {"packing": True},
    "packing_scopes": PACKED | {"packing": True, "preprocessing_batch_size": 5, "preprocessing_num_workers": 2},
    "packing_prompts": PACKED | {"packing": True, "train_on_prompt": True},
    "packing_qwen2_5": PACKED | {"model_name_or_path": "qwen2_5_vl_tiny", "template": "qwen2_vl", "packing": True},
    "neat_packing": NEAT,
    "neat_packing_batch": NEAT | {"per_device_train_batch_size": 2},
    "neat_packing_qwen2_5": NEAT | {"model_name_or_path": "qwen2_5_vl_tiny", "template": "qwen2_vl"},
    "group_by_length": {"train_sampling_strategy": "group_by_length", "max_steps": 18},
    "streaming": STREAM | {"buffer_size": 4, "max_steps": 12},
    "streaming_workers": STREAM
    | {
        "dataset": "mixed,text",
        "buffer_size": 3,
        "dataloader_num_workers": 2,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "val_size": 3,
        "eval_strategy": "steps",
        "eval_steps": 5,
        "per_device_eval_batch_size": 1,
    },
    "streaming_packed": PACKED | STREAM | {"packing": True, "buffer_size": 5, "preprocessing_batch_size": 5},
    "loraplus": {"loraplus_lr_ratio": 16.0, "weight_decay": 0.1},
    "dft": {"use_dft_loss": True, "gradient_accumulation_steps": 3},
    "label_smoothing": {"label_smoothing_factor": 0.1},
    "freeze_modules": {
        "finetuning_type": "freeze",
        "freeze_trainable_layers": 2,
        "freeze_trainable_modules": "mlp,input_layernorm",
        "freeze_extra_modules": "norm",
        "learning_rate": 1.0e-4,
    },
    "plateau": {
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"patience": 0, "factor": 0.5, "threshold": 0.9, "threshold_mode": "abs"},
        "eval_strategy": "steps",
        "eval_steps": 2,
        "val_size": 3,
    },
    "pissa": PISSA | {"lora_target": "q_proj,v_proj,down_proj"},
    "pissa_qwen2_5": PISSA
    | {"model_name_or_path": "qwen2_5_vl_tiny", "template": "qwen2_vl", "lora_target": "o_proj,up_proj", "lora_rank": 2},
    "dora": {"use_dora": True},
    "dora_qwen2_5": {
        "model_name_or_path": "qwen2_5_vl_tiny",
        "template": "qwen2_vl",
        "use_dora": True,
        "use_rslora": True,
        "lora_target": "qkv,q_proj,o_proj,down_proj",
        "freeze_vision_tower": False,
    },
    "additional_target": {"additional_target": "merger,layernorm", "lora_target": "q_proj,up_proj"},
    "additional_target_qwen2_5": {
        "model_name_or_path": "qwen2_5_vl_tiny",
        "template": "qwen2_vl",
        "additional_target": "merger,embed_tokens",
    },
    "add_tokens": {
        "model_name_or_path": "qwen2_5_vl_tiny",
        "template": "qwen2_vl",
        "add_tokens": "synonym,Wolves",
        "add_special_tokens": "<row>,| --- |",
    },
    "pretrain": {"stage": "pt", "dataset": "pages", "cutoff_len": 40},
    "pretrain_apart": {"stage": "pt", "dataset": "pages", "cutoff_len": 32, "packing": False},
    "dpo_sigmoid": DPO | {"dpo_label_smoothing": 0.1, "pref_ftx": 0.3, "gradient_accumulation_steps": 2},
    "dpo_hinge": DPO | {"pref_loss": "hinge", "pref_beta": 0.5},
    "dpo_ipo": DPO | {"pref_loss": "ipo", "val_size": 3, "eval_strategy": "steps", "eval_steps": 5},
    "dpo_orpo": DPO | {"pref_loss": "orpo", "logging_steps": 3},
    "dpo_orpo_full": DPO | {"pref_loss": "orpo", "finetuning_type": "full", "learning_rate": 1.0e-4},
    "dpo_simpo": DPO | {"pref_loss": "simpo", "pref_beta": 2.0, "simpo_gamma": 1.0, "pref_ftx": 0.1},
    "dpo_qwen2_5": DPO | {"model_name_or_path": "qwen2_5_vl_tiny", "template": "qwen2_vl"},
    "kto": KTO | {"gradient_accumulation_steps": 1, "kto_rejected_weight": 1.3},
    "kto_ftx": KTO | {"pref_ftx": 0.2, "kto_chosen_weight": 0.8, "pref_beta": 0.5},
    "video_files": VIDEOS,
    "video_files_qwen2_5": VIDEOS | {"model_name_or_path": "qwen2_5_vl_tiny", "template": "qwen2_vl"},
    "video_frames": VIDEOS | {"dataset": "frames"},
    "video_frames_qwen2_5": VIDEOS
    | {"dataset": "frames", "model_name_or_path": "qwen2_5_vl_tiny", "template": "qwen2_vl"},
    "video_files_packed": VIDEOS | NEAT | {"cutoff_len": 704},
    "sgd": {"optim": "sgd", "learning_rate": 0.1, "weight_decay": 0.1},
    "sgd_momentum": {
        "optim": "sgd",
        "optim_args": "momentum=0.9,dampening=0.1",
        "learning_rate": 0.02,
        "weight_decay": 0.1,
    },
    "sgd_nesterov": {
        "optim": "sgd",
        "optim_args": "momentum=0.8,nesterov=true",
        "learning_rate": 0.02,
        "loraplus_lr_ratio": 4.0,
        "weight_decay": 0.1,
    },
    "pure_bf16": {"pure_bf16": True, "finetuning_type": "full", "learning_rate": 1.0e-4, "weight_decay": 0.1},
    "lion": {"optim": "lion_32bit", "learning_rate": 1.0e-4, "weight_decay": 0.1, "adam_beta2": 0.99},
    "adafactor": {"optim": "adafactor", "weight_decay": 0.1},
    "adafactor_full": {"optim": "adafactor", "finetuning_type": "full", "learning_rate": 1.0e-4},
    "adamw_8bit": {"optim": "adamw_8bit", "finetuning_type": "full", "learning_rate": 1.0e-4, "weight_decay": 0.1},
    "lion_8bit": {"optim": "lion_8bit", "finetuning_type": "full", "learning_rate": 1.0e-5},
    # Muon's five iterations in bf16 do not converge: of gradients that differ in one rounding they make updates that
    # differ by 1e-2 of a narrow matrix. At 1e-3 that alone moves losses by 7e-4.
    "muon": {"use_muon": True, "learning_rate": 1.0e-4, "weight_decay": 0.1},
    "muon_full": {"use_muon": True, "finetuning_type": "full", "learning_rate": 5.0e-5, "weight_decay": 0.1},
    "accuracy": {"compute_accuracy": True, "val_size": 3, "eval_strategy": "steps", "eval_steps": 5},
    "neftune": {"neftune_noise_alpha": 5.0},
    "qlora_nf4": QLORA,
    "qlora_nf4_plain": QLORA | {"double_quantization": False, "per_device_train_batch_size": 2},
    "qlora_fp4_qwen2_5": QLORA
    | {"model_name_or_path": "qwen2_5_vl_tiny", "template": "qwen2_vl", "quantization_type": "fp4"},
    "qlora_int8": QLORA | {"quantization_bit": 8},
    "text_qwen3": {"dataset": "text", "template": "qwen3"},
    "text_qwen": {"model_name_or_path": "qwen2_5_vl_tiny", "dataset": "text", "template": "qwen"},
}


def mask_dummy_images_once() -> None:
    """LLaMA-Factory 0.9.5 adds the mask of its dummy image twice to a packed row without an image, and fails then."""
    import llamafactory.data.collator as collator

    cls = collator.MultiModalDataCollatorForSeq2Seq
    original = cls._compute_rope_position_ids_with_packing

    def compute(self, features, *args, **kwargs):
        original(self, features, *args, **kwargs)
        features["attention_mask"] = features["attention_mask"][:, : features["input_ids"].size(1)]

    cls._compute_rope_position_ids_with_packing = compute


def shift_smoothed_labels() -> None:
    """transformers 5.6 smooths the labels of vision-language models without shifting them: each token would learn to
    repeat itself. Here they are shifted as those of other models."""
    import transformers.trainer as trainer

    for name in ("Qwen3VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"):
        trainer.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name] = name


def ask_for_preference_loss() -> None:
    """trl 0.24 takes the kind of loss as an argument, which LLaMA-Factory 0.9.5 does not pass: its hinge and ipo would
    be sigmoid."""
    from llamafactory.train.dpo.trainer import CustomDPOTrainer
    from trl import DPOTrainer

    CustomDPOTrainer.dpo_loss = lambda self, *logps: DPOTrainer.dpo_loss(self, *logps, loss_type=self.loss_type)


def keep_heads_tied() -> None:
    """PEFT 0.18 trains a copy of an embedding table apart from the head that is tied to it, unless it is asked not to,
    or if the head is named as well. The heads of both tiny models are tied."""
    import llamafactory.model.adapter as adapter

    original = adapter.LoraConfig

    def config(**settings):
        if settings.get("modules_to_save"):
            settings["modules_to_save"] = [name for name in settings["modules_to_save"] if name != "lm_head"]
        return original(ensure_weight_tying=True, **settings)

    adapter.LoraConfig = config


def mean_logit(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of each answer's tokens. LLaMA-Factory logs that of prompts and padding too, which follows from the other rows of
    a batch."""
    learned = (labels[:, 1:] != -100).double()
    means = logits[:, :-1].double().mean(-1)
    return (means * learned).sum(-1) / learned.sum(-1)


def log_logits_of_answers() -> None:
    from llamafactory.train.dpo.trainer import CustomDPOTrainer

    original = CustomDPOTrainer.concatenated_forward

    def concatenated_forward(self, model, batch, is_ref_model=False):
        labels, seen = batch["labels"].clone(), []
        handle = model.register_forward_hook(lambda module, inputs, output: seen.append(output.logits.detach()))
        out = original(self, model, batch, is_ref_model)
        handle.remove()
        means = mean_logit(seen[0], labels)
        out["chosen_logits"], out["rejected_logits"] = means.chunk(2)
        return out

    CustomDPOTrainer.concatenated_forward = concatenated_forward


def judge_images() -> None:
    """LLaMA-Factory 0.9.5 keeps from the model which tokens are an image's, which transformers 5.6 asks for; and it
    logs the sum of kl over micro-batches, here their mean."""
    from llamafactory.train.kto.trainer import CustomKTOTrainer
    from llamafactory.train.trainer_utils import get_batch_logps

    def forward(self, model, batch, prefix=""):
        ids, labels = batch[f"{prefix}input_ids"], batch[f"{prefix}labels"]
        config = self.accelerator.unwrap_model(model).config
        more = {"pixel_values": batch["pixel_values"], "image_grid_thw": batch["image_grid_thw"]}
        more["mm_token_type_ids"] = (ids == config.image_token_id).int()
        out = model(input_ids=ids, attention_mask=batch[f"{prefix}attention_mask"], use_cache=False, **more)
        logps, length = get_batch_logps(logits=out.logits.float(), labels=labels)
        return mean_logit(out.logits.detach(), labels), logps, logps / length

    original = CustomKTOTrainer.log

    def log(self, logs, *args, **kwargs):
        stored = self._stored_metrics["train" if "loss" in logs else "eval"]
        stored["kl"] = [value / len(stored["kl"]) for value in stored["kl"]]
        return original(self, logs, *args, **kwargs)

    CustomKTOTrainer.forward, CustomKTOTrainer.log = forward, log


def round_to_nearest_code() -> None:
    """On a CPU bitsandbytes 0.50 looks up the code of a moment in a table of 65,536 places, which misses the nearest one
    near 0. Here it rounds as on a GPU: to the nearest code, with the moment's sign."""
    import bitsandbytes.backends.cpu.ops as ops

    def quantise(values, code, absmax, out, block):
        flat = torch.nn.functional.pad(values.flatten(), (0, -values.numel() % block)).view(-1, block)
        largest = flat.abs().amax(1)
        scaled = torch.where(largest[:, None] > 0, flat / largest[:, None], 0.0)
        codes = torch.bucketize(scaled, (code[1:] + code[:-1]) * 0.5, right=True)
        codes = torch.where((scaled < 0) & (code[codes] >= 0), codes - 1, codes)
        codes = torch.where((scaled > 0) & (code[codes] < 0), codes + 1, codes)
        out.copy_(codes.flatten()[: values.numel()].view_as(out))
        absmax.copy_(largest)

    ops._quant_blockwise_fp32_direct = quantise


def noise_by_rule() -> None:
    """NEFTune draws from torch's generator, of whose state no other program knows. Here its noise is a function of the
    step, the token's place among the tokens of the step and the column: kernel/elementwise/embedding_noise.hpp. Its
    size follows from the length of the row without the dummy image that LLaMA-Factory appends to rows of text."""
    import numpy
    import transformers.integrations.neftune as neftune
    from torch.optim.optimizer import register_optimizer_step_post_hook

    state = {"step": 0, "tokens": 0}

    def next_step(*_):
        state["step"] += 1
        state["tokens"] = 0

    register_optimizer_step_post_hook(next_step)

    def hook(module, inputs, output):
        if not module.training:
            return output
        seed = (43 * 0x9E3779B97F4A7C15 + (state["step"] << 16) * 0xBF58476D1CE4E5B9) % 2**64 | 1
        appended = [make_tiny.ID[f"<|{mark}|>"] for mark in ("endoftext", "vision_start", "image_pad", "vision_end")]
        tokens = len(numpy.trim_zeros(~numpy.isin(inputs[0][0].numpy(), appended), "b"))
        index = numpy.arange(tokens * output.size(2), dtype=numpy.uint64) + numpy.uint64(
            state["tokens"] * output.size(2) + 1
        )
        state["tokens"] += tokens
        z = numpy.uint64(seed) + index * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = (z ^ (z >> numpy.uint64(31))) >> numpy.uint64(40)
        unit = torch.from_numpy(z.astype(numpy.float32) * numpy.float32(2**-24)).view(1, tokens, -1)
        noise = torch.zeros_like(output)
        padded = -(-tokens // 8) * 8
        noise[:, :tokens] = (2 * unit - 1) * (module.neftune_noise_alpha / (padded * output.size(2)) ** 0.5)
        return output + noise

    neftune.neftune_post_forward_hook = hook


def quantize_decoder_alone() -> None:
    """transformers quantises the vision tower and the projector as well; here they stay whole. And bitsandbytes'
    PyTorch kernels, which its CUDA kernels equal, in place of those of its CPU library."""
    import functools

    import llamafactory.model.model_utils.quantization as quantization
    import quantization_golden

    quantization.BitsAndBytesConfig = functools.partial(
        quantization.BitsAndBytesConfig, llm_int8_skip_modules=["model.visual", "lm_head"]
    )
    quantization_golden.use_pytorch_kernels()


def allow_bf16_on_cpu() -> None:
    """LLaMA-Factory takes pure_bf16 on GPUs alone."""
    import llamafactory.hparams.parser as parser

    parser.is_torch_bf16_gpu_available = lambda: True


def multiply_unrounded() -> None:
    """LLM.int8 rounds activations to 8 bits too; here products are those of the weights that are read back."""
    import bitsandbytes as bnb

    def forward(self, x):
        w = bnb.functional.int8_vectorwise_dequant(self.weight.CB, self.weight.SCB)
        return torch.nn.functional.linear(x, w, self.bias)

    bnb.nn.Linear8bitLt.forward = forward


def execute(run: str, work: pathlib.Path) -> None:
    make_tiny.write_weights(work)
    base = BASE | {key: RUNS[run][key] for key in ("model_name_or_path",) if key in RUNS[run]}
    settings = {key: value for key, value in RUNS[run].items() if key != "model_name_or_path"}
    config = base | settings
    config |= {
        "model_name_or_path": str(work / base["model_name_or_path"]),
        "dataset_dir": str(GOLDEN),
        "media_dir": str(llamafactory_run.ROOT / "data"),
        "output_dir": str(work / "out"),
    }
    llamafactory_run.stand_in_for_torchaudio()
    mask_dummy_images_once()
    shift_smoothed_labels()
    ask_for_preference_loss()
    keep_heads_tied()
    log_logits_of_answers()
    judge_images()
    round_to_nearest_code()
    noise_by_rule()
    llamafactory_run.place_videos_as_trained()
    allow_bf16_on_cpu()
    if "quantization_bit" in settings:
        quantize_decoder_alone()
        multiply_unrounded()
    from llamafactory.train.tuner import run_exp
    from safetensors.torch import load_file

    run_exp(config)
    state = json.loads((work / "out/trainer_state.json").read_text())
    adapter = work / "out/adapter_model.safetensors"
    trained = {}
    for name, tensor in load_file(adapter if adapter.exists() else work / "out/model.safetensors").items():
        trained[name] = float(tensor.double().norm())
    lines = [
        f'"settings": {json.dumps(settings)}',
        f'"base": {json.dumps(base)}',
        '"history": [\n' + ",\n".join(json.dumps(row) for row in state["log_history"]) + "\n]",
        '"trained": {\n' + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in trained.items()) + "\n}",
    ]
    (GOLDEN / f"{run}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", choices=RUNS, action="append", help="default: all, one process each")
    runs = arguments.parse_args().run or list(RUNS)
    torch.set_num_threads(1)
    if len(runs) > 1:
        for run in runs:
            if os.spawnv(os.P_WAIT, sys.executable, [sys.executable, __file__, "--run", run]):
                raise SystemExit(f"run {run} failed")
        return
    with tempfile.TemporaryDirectory() as temporary:
        execute(runs[0], pathlib.Path(temporary).resolve())


if __name__ == "__main__":
    main()
