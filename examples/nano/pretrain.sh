#!/usr/bin/env bash
# Teaches the nano model to read, from random weights, on one GPU: single signs first, then short texts, then tables and
# everything else. Writes saves/nano/model. The weights in data/qwen3_vl_nano were made so, in about nine minutes on an H100.
#
#     examples/nano/pretrain.sh                            as many images and steps as data/README.md tells of
#     PART=100 examples/nano/pretrain.sh                   a hundredth of them, to see it run
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${BIN:-build/bin} saves=${SAVES:-saves/nano} part=${PART:-1}

draw() { $bin/lamina-draw-images --out "$saves/images" --name "$1" --count $(($2 / part)) --mix "$3" --seed "$4"; }
draw nano_signs 100000 sign 1
draw nano_short 120000 word:5,number:2,lines:3,shapes:1,sign:1 2
draw nano_tables 900000 table:8,lines:2,word:1,number:1,shapes:1 3
draw nano_more 500000 table:8,lines:2,word:1,number:1,shapes:1 5
draw nano_heldout 1000 sign:1,word:1,number:1,lines:1,shapes:1,table:5 4

# train OUT FROM STEPS [key=value ...]
train() {
  local out=$1 from=$2 steps=$3
  shift 3
  $bin/lamina-train examples/configs/nano_pretrain.yaml dataset_dir="$saves/images" model_name_or_path="$saves/$from" \
    output_dir="$saves/$out" max_steps=$((steps / part)) "$@"
}
$bin/lamina-init --model data/qwen3_vl_nano --out "$saves/start" --dtype bfloat16
train signs start 2200 dataset=nano_signs lr_scheduler_type=constant_with_warmup learning_rate=1.0e-3
train short signs 2000 dataset=nano_short lr_scheduler_type=constant_with_warmup
train model short 13770 dataset=nano_tables,nano_more,nano_short \
  eval_dataset=nano_heldout do_eval=true per_device_eval_batch_size=200
