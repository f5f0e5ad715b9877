#!/usr/bin/env bash
# run.sh BUILD SOURCE: the programs of a model of one's own, one after the other: starting weights, two steps of training
# and two more from the checkpoint, the merged model, an answer in the terminal and one from the server. SOURCE is
# Lamina's folder, for its data.
set -euo pipefail
build=$1 source=$2
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
"$build/mine-init" --model "$source/data/qwen3_vl_nano" --out "$work/start" --seed 1
grep -q post_feedforward_layernorm "$work/start/model.safetensors"
cd "$source"
train() {
  "$build/mine-train" examples/configs/quickstart_lora_sft.yaml "model_name_or_path=$work/start" "output_dir=$work/trained" \
    max_samples=16 logging_steps=1 plot_loss=true save_strategy=steps save_steps=2 "$@" >"$work/train.log" 2>&1 ||
    { cat "$work/train.log"; exit 1; }
}
train max_steps=2
train max_steps=4 overwrite_output_dir=false resume_from_checkpoint=true
grep -q "4/4" "$work/train.log"
[ -s "$work/trained/adapter_model.safetensors" ]
! pkg-config --exists cairo-png || [ -s "$work/trained/training_loss.png" ]

"$build/mine-merge" "model_name_or_path=$work/start" "adapter_name_or_path=$work/trained" template=qwen3_vl_nothink \
  "export_dir=$work/merged"
grep -q post_feedforward_layernorm "$work/merged/model.safetensors"
"$build/mine-chat" --model "$work/merged" --prompt Hello --max-tokens 4

"$build/mine-serve" --model "$work/merged" --host 127.0.0.1 --port 0 >"$work/serve.log" 2>&1 &
server=$!
for _ in $(seq 100); do
  url=$(grep -oE 'http://127[0-9.:]+' "$work/serve.log" | head -n 1 || true)
  [ -z "$url" ] || break
  kill -0 "$server"
  sleep 0.1
done
curl -fsS "$url/v1/chat/completions" -H 'Content-Type: application/json' \
  -d '{"model": "'"$work/merged"'", "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}' |
  grep -q '"completion_tokens": *[1-4]'
