#!/usr/bin/env bash
# Teaches the nano model to read, from random weights, on one GPU: draws the pictures, trains on short texts, then on
# everything. Writes saves/nano/model; data/qwen3_vl_nano/model.safetensors was made by this script on an H100.
#
#     examples/nano/pretrain.sh            PICTURES=20000 EPOCHS=1 examples/nano/pretrain.sh  for a try
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${BIN:-build/bin} pictures=${PICTURES:-300000} epochs=${EPOCHS:-7} saves=${SAVES:-saves/nano}
drawn=$saves/pictures config=examples/configs/nano_pretrain.yaml

$bin/lamina-draw-pictures --out "$drawn" --name nano_short --count $((pictures / 3)) \
  --mix word:4,number:2,lines:2,shapes:2 --seed 1
$bin/lamina-draw-pictures --out "$drawn" --name nano_tables --count $((pictures * 2 / 3)) \
  --mix table:6,lines:2,word:1,number:1,shapes:1 --seed 2
$bin/lamina-draw-pictures --out "$drawn" --name nano_heldout --count 1000 --seed 3

$bin/lamina-init --model data/qwen3_vl_nano --out "$saves/start" --dtype bfloat16 --seed 1
$bin/lamina-train $config model_name_or_path="$saves/start" dataset_dir="$drawn" output_dir="$saves/short" \
  num_train_epochs="$epochs"
$bin/lamina-train $config model_name_or_path="$saves/short" dataset_dir="$drawn" output_dir="$saves/model" \
  dataset=nano_short,nano_tables eval_dataset=nano_heldout do_eval=true num_train_epochs="$epochs"
