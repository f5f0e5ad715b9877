#!/usr/bin/env bash
# run.sh BUILD SOURCE: random weights for the model of one's own, two steps of training, and an answer from its server.
set -euo pipefail
build=$1 source=$2
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
"$build/mine-init" --model "$source/data/qwen3_vl_nano" --out "$work/start" --seed 1
grep -q post_feedforward_layernorm "$work/start/model.safetensors"
cd "$source"
"$build/mine-train" examples/configs/quickstart_lora_sft.yaml "model_name_or_path=$work/start" "output_dir=$work/trained" \
  max_steps=2 max_samples=8 logging_steps=1 plot_loss=true >"$work/train.log" 2>&1 || { cat "$work/train.log"; exit 1; }
[ -s "$work/trained/adapter_model.safetensors" ]
! pkg-config --exists cairo-png || [ -s "$work/trained/training_loss.png" ]

# The program that merges knows the family of one's own without any model: its name is among those that it reads.
cp -r "$work/start" "$work/owl"
sed -i 's/"model_type": "qwen3_vl"/"model_type": "owl"/' "$work/owl/config.json"
refusal=$("$build/bird-merge" "model_name_or_path=$work/owl" "export_dir=$work/merged" 2>&1 || true)
grep -q 'qwen2_5_vl and heron_vl' <<<"$refusal"

"$build/mine-serve" --model "$work/start" --host 127.0.0.1 --port 0 >"$work/serve.log" 2>&1 &
server=$!
for _ in $(seq 100); do
  url=$(grep -oE 'http://127[0-9.:]+' "$work/serve.log" | head -n 1 || true)
  [ -z "$url" ] || break
  kill -0 "$server"
  sleep 0.1
done
curl -fsS "$url/v1/chat/completions" -H 'Content-Type: application/json' \
  -d '{"model": "'"$work/start"'", "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}' |
  grep -q '"completion_tokens": *[1-4]'
