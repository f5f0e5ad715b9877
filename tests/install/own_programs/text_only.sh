#!/usr/bin/env bash
# run.sh BUILD SOURCE: a language model without a tower is trained, merged, asked and served; images are refused.
set -euo pipefail
build=$1 source=$2
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
mkdir "$work/files" "$work/data"
for file in tokenizer.json tokenizer_config.json generation_config.json chat_template.json; do
  cp "$source/data/qwen3_vl_tiny/$file" "$work/files"
done
cat >"$work/files/config.json" <<'JSON'
{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": false, "attention_dropout": 0.0,
 "bos_token_id": 4070, "eos_token_id": 4072, "head_dim": 128, "hidden_act": "silu", "hidden_size": 256,
 "initializer_range": 0.02, "intermediate_size": 768, "max_position_embeddings": 40960, "max_window_layers": 4,
 "num_attention_heads": 4, "num_hidden_layers": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_scaling": null,
 "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "float32", "use_cache": true,
 "use_sliding_window": false, "vocab_size": 4096}
JSON
cat >"$work/data/dataset_info.json" <<'JSON'
{"text": {"file_name": "text.json"},
 "shown": {"file_name": "shown.json", "columns": {"prompt": "instruction", "response": "output", "images": "images"}}}
JSON
for i in $(seq 16); do echo "{\"instruction\": \"What is $i + 1?\", \"output\": \"$((i + 1))\"}"; done | paste -sd, |
  sed 's/^/[/; s/$/]/' >"$work/data/text.json"
echo '[{"instruction": "<image>What?", "output": "A table.", "images": ["'"$source"'/data/tables/heldout_0002.jpg"]}]' \
  >"$work/data/shown.json"

"$build/text-init" --model "$work/files" --out "$work/model"
train() {
  "$build/text-train" "$source/examples/configs/quickstart_lora_sft.yaml" "model_name_or_path=$work/model" \
    "dataset_dir=$work/data" "output_dir=$work/adapter" template=qwen3_nothink max_steps=2 plot_loss=false "$@" \
    >"$work/train.log" 2>&1
}
train dataset=text || { cat "$work/train.log"; exit 1; }
grep -q 'pipeline_tag: text-generation' "$work/adapter/README.md"
train dataset=text --dry-run --describe
grep -q 'layers x 4' "$work/train.log"
! train dataset=shown
grep -q 'the model reads none' "$work/train.log"

"$build/text-merge" "model_name_or_path=$work/model" "adapter_name_or_path=$work/adapter" template=qwen3_nothink \
  "export_dir=$work/merged"
grep -q 'pipeline_tag: text-generation' "$work/merged/README.md"
"$build/text-chat" --model "$work/merged" --prompt 'What is 3 + 1?' --max-tokens 4

"$build/text-serve" --model "$work/merged" --host 127.0.0.1 --port 0 --served-model-name text >"$work/serve.log" 2>&1 &
server=$!
for _ in $(seq 100); do
  url=$(grep -oE 'http://127[0-9.:]+' "$work/serve.log" | head -n 1 || true)
  [ -z "$url" ] || break
  kill -0 "$server"
  sleep 0.1
done
ask() {
  curl -sS "$url/v1/chat/completions" -H 'Content-Type: application/json' \
    -d '{"model": "text", "max_tokens": 4, "messages": [{"role": "user", "content": '"$1"'}]}'
}
ask '"Hello"' | grep -q '"completion_tokens": *[1-4]'
ask '[{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]' | grep -q 'the model reads no images'
