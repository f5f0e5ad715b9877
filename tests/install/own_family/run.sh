#!/usr/bin/env bash
# run.sh BUILD SOURCE: the program that merges names the family of one's own among those that it reads.
set -euo pipefail
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$source/data/qwen3_vl_nano" "$work/owl"
sed -i 's/"model_type": "qwen3_vl"/"model_type": "owl"/' "$work/owl/config.json"
refusal=$("$build/bird-merge" "model_name_or_path=$work/owl" "export_dir=$work/merged" 2>&1 || true)
grep -q 'qwen3_vl_moe and heron_vl' <<<"$refusal"
