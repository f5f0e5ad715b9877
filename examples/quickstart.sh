#!/usr/bin/env bash
# From nothing to an answer: installs what is missing, builds, tunes a small model on pictures of tables, merges the
# adapter, serves the merged model and asks it about a picture it has not seen. Needs no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS
step() { printf '\n== %s  (%d s)\n' "$1" "$((SECONDS - started))"; }

step "what the build needs"
cmake/install-dependencies.sh

step "build"
cmake -S . -B build -G Ninja -DLAMINA_MODELS=tiny -DLAMINA_BUILD_TESTS=OFF >build-quickstart.log 2>&1 ||
  { cat build-quickstart.log; exit 1; }
cmake --build build --target lamina-init lamina-train lamina-merge lamina-serve lamina-chat
rm -f build-quickstart.log
bin=build/bin

step "a small model with random weights"
$bin/lamina-init --model data/qwen3_vl_tiny --out saves/quickstart/model

step "tune it on 200 pictures of tables"
$bin/lamina-train examples/configs/quickstart_lora_sft.yaml

step "merge the adapter"
$bin/lamina-merge examples/configs/quickstart_merge.yaml

step "serve the merged model and ask it"
$bin/lamina-serve --host 127.0.0.1 --port 0 --model saves/quickstart/merged --served-model-name tables \
  >saves/quickstart/serve.log 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
url=
for _ in $(seq 100); do
  url=$(grep -oE 'http://127[0-9.:]+' saves/quickstart/serve.log | head -n 1 || true)
  [ -n "$url" ] && curl -fs "$url/health" >/dev/null && break
  kill -0 $server 2>/dev/null || { cat saves/quickstart/serve.log; exit 1; }
  sleep 0.2
done
picture=data/tables/heldout_0000.jpg
cat >saves/quickstart/request.json <<EOF
{"model": "tables", "temperature": 0, "max_tokens": 96, "messages": [{"role": "user", "content": [
  {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,$(base64 -w0 $picture)"}},
  {"type": "text", "text": "What does the table say?"}]}]}
EOF
curl -fsS "$url/v1/chat/completions" -H 'Content-Type: application/json' \
  -d @saves/quickstart/request.json >saves/quickstart/answer.json
kill $server; wait $server || true
trap - EXIT

step "done"
echo "picture:    $picture"
echo "answer:     $(sed -E 's/.*"content":"(([^"\\]|\\.)*)".*/\1/' saves/quickstart/answer.json)"
echo "loss plot:  saves/quickstart/lora/training_loss.png"
echo "adapter:    saves/quickstart/lora      merged model: saves/quickstart/merged"
echo "The model began with random weights: it has learnt what an answer looks like, not yet to read."
