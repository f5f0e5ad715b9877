#!/usr/bin/env bash
# Qwen3-VL-2B with random bf16 weights on the CPU: prefill and decode rates, peak memory.
#
#     bench/decode_2b.sh TOKENIZER_DIR BUILD_DIR      (a build with -DLAMINA_MODELS=qwen3_vl_2b)
#
# Judge decode by 3.44 GB of weights read per token, prefill by 2.82 GFLOP per token.
set -euo pipefail
tokenizer=$1 bin=$2/bin work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/shape"
cp "$tokenizer"/tokenizer*.json "$work/shape"
cp "$(dirname "$0")"/../data/qwen3_vl_tiny/preprocessor_config.json "$work/shape"
cat >"$work/shape/config.json" <<'JSON'
{"architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", "tie_word_embeddings": true,
 "image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652, "vision_end_token_id": 151653,
 "text_config": {"model_type": "qwen3_vl_text", "attention_bias": false, "bos_token_id": 151643, "eos_token_id": 151645,
  "dtype": "bfloat16", "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144,
  "max_position_embeddings": 262144, "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
  "rms_norm_eps": 1e-06, "rope_theta": 5000000, "tie_word_embeddings": true, "vocab_size": 151936,
  "rope_scaling": {"mrope_interleaved": true, "mrope_section": [24, 20, 20], "rope_type": "default"}},
 "vision_config": {"model_type": "qwen3_vl", "depth": 24, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 1024, "in_channels": 3,
  "intermediate_size": 4096, "num_heads": 16, "num_position_embeddings": 2304, "out_hidden_size": 2048, "patch_size": 16,
  "spatial_merge_size": 2, "temporal_patch_size": 2, "deepstack_visual_indexes": [5, 11, 17]}}
JSON
"$bin"/lamina-init --model "$work/shape" --out "$work/model" --dtype bfloat16
prompt=$(for i in $(seq 64); do printf 'The picture %d shows a table of numbers. ' "$i"; done)
for tokens in 1 48; do
  "$bin"/lamina-chat --model "$work/model" --prompt "$prompt" --greedy --max-tokens $tokens >/dev/null &
  chat=$! peak=0
  while kill -0 $chat 2>/dev/null; do
    now=$(awk '/VmHWM/ {print $2}' /proc/$chat/status 2>/dev/null || echo 0)
    [ "${now:-0}" -gt "$peak" ] && peak=$now
    sleep 0.2
  done
  wait $chat
  echo "peak resident memory: $((peak / 1024)) MiB"
done
