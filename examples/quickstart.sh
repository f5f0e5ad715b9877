#!/usr/bin/env bash
# From nothing to a model that learnt something: installs what is missing, builds, asks the nano model for Markdown
# tables (it reads, but has never seen Markdown), tunes it on 200 images, asks again, merges the adapter, serves the
# merged model and asks it once more. Needs no GPU and takes one if there is one. Fails if a score is too low.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS saves=saves/quickstart bin=build/bin
step() { printf '\n== %s  (%d s)\n' "$1" "$((SECONDS - started))"; }

step "what the build needs"
cmake/install-dependencies.sh

step "build"
cmake -S . -B build -G Ninja -DLAMINA_BUILD_TESTS=OFF >build-quickstart.log 2>&1 ||
  { cat build-quickstart.log; exit 1; }
cmake --build build --target lamina-train lamina-merge lamina-serve lamina-chat
rm -f build-quickstart.log

# predict NAME DATASET [key=value ...]: prints how many per cent of the answers are right to the letter.
predict() {
  local out=$saves/$1 dataset=$2
  shift 2
  $bin/lamina-train examples/configs/quickstart_predict.yaml output_dir="$out" eval_dataset="$dataset" "$@" >"$saves/predict.log" 2>&1 ||
    { cat "$saves/predict.log" >&2; return 1; }
  sed -nE 's/.*"predict_exact_match": *([0-9]+)(\.[0-9]+)?.*/\1/p' "$out/predict_results.json"
}
mkdir -p $saves

step "before: 50 images of tables to Markdown, 60 questions of other kinds"
before=$(predict before tables_heldout)
skills_before=$(predict skills_before skills)
echo "right: $before % of the tables, $skills_before % of the others"

step "tune it on 200 other images of tables, and 200 of other kinds"
tuning=$SECONDS
$bin/lamina-train examples/configs/quickstart_lora_sft.yaml
tuning=$((SECONDS - tuning))

step "after"
adapter=adapter_name_or_path=$saves/lora
after=$(predict after tables_heldout $adapter)
skills_after=$(predict skills_after skills $adapter)
echo "right: $after % of the tables, $skills_after % of the others"

step "merge the adapter"
$bin/lamina-merge examples/configs/quickstart_merge.yaml
merged=$(predict merged tables_heldout model_name_or_path=$saves/merged)

step "serve the merged model and ask it"
$bin/lamina-serve --host 127.0.0.1 --port 0 --model $saves/merged --served-model-name tables >$saves/serve.log 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
url=
for _ in $(seq 100); do
  url=$(grep -oE 'http://127[0-9.:]+' $saves/serve.log | head -n 1 || true)
  [ -n "$url" ] && curl -fs "$url/health" >/dev/null && break
  kill -0 $server 2>/dev/null || { cat $saves/serve.log; exit 1; }
  sleep 0.2
done
image=$(ls data/tables/heldout_0000.*) type=image/${image##*.}
cat >$saves/request.json <<EOF
{"model": "tables", "temperature": 0, "max_tokens": 256, "messages": [{"role": "user", "content": [
  {"type": "image_url", "image_url": {"url": "data:${type/jpg/jpeg};base64,$(base64 -w0 "$image")"}},
  {"type": "text", "text": "Write this table in Markdown."}]}]}
EOF
curl -fsS "$url/v1/chat/completions" -H 'Content-Type: application/json' -d @$saves/request.json >$saves/answer.json
kill $server; wait $server || true
trap - EXIT

step "done"
printf 'image:    %s\nanswer:\n\n%b\n\n' "$image" \
  "$(sed -E 's/.*"content":"(([^"\\]|\\.)*)".*/\1/' $saves/answer.json)"
cat <<EOF
                       before  after  merged     right to the letter, per cent
tables to Markdown     $(printf '%6s %6s %7s' "$before" "$after" "$merged")
other questions        $(printf '%6s %6s' "$skills_before" "$skills_after")
tuning took $tuning s; loss plot: $saves/lora/training_loss.png   adapter: $saves/lora   merged model: $saves/merged
EOF
# 96 and 90 on the machine of data/README.md; other processors round otherwise, and of 50 images one is 2 %.
[ "$before" -le 5 ] && [ "$after" -ge 86 ] && [ "$merged" -ge 86 ] && [ "$((skills_before - skills_after))" -le 15 ] ||
  { echo "FAILED: wanted at most 5 % before, at least 86 % after and merged, and the other skills kept within 15 points"; exit 1; }
