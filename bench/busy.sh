#!/usr/bin/env bash
# What training and answering take if the processors are shared. Runs them on the quickstart's model alone, next to one
# busy loop for each processor, and under a quota of half the processors, in turn; prints medians. Waiting threads must
# burn no processor time, so no program may take more than 1.3 times (its time alone / its share of the processors),
# and an idle server none at all. Exits with 1 if one does.
#
#     [taskset -c 0,1] bench/busy.sh [BIN [STEPS [ROUNDS]]]        BIN: folder of the programs, build/bin; 4 answers for each of STEPS
#
# Needs lamina-train and lamina-serve. A quota needs the right to make a control group (root); without it that row is
# skipped, visibly. Compare two builds with PEER=folder: its programs run in turn with those of BIN, alone.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:-build/bin} steps=${2:-30} rounds=${3:-5} limit=1.3
processors=$(nproc)
work=$(mktemp -d)
group= neighbours=()
clean_up() {
  stop_neighbours
  [ -z "$group" ] || rmdir "$group" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT

start_neighbours() {
  for _ in $(seq "$processors"); do
    bash -c 'while :; do :; done' &
    neighbours+=($!)
  done
}
stop_neighbours() {
  for pid in ${neighbours[@]+"${neighbours[@]}"}; do kill "$pid" && wait "$pid" || true; done 2>/dev/null
  neighbours=()
}

# Makes a control group with half the processors' time in $group, if the system lets us.
make_group() {
  local root=/sys/fs/cgroup period=100000
  if [ -f $root/cgroup.controllers ]; then
    group=$root/lamina-busy.$$
    { mkdir $group && echo $((processors * period / 2)) $period >$group/cpu.max; } 2>/dev/null && return
  else
    group=$root/cpu/lamina-busy.$$
    { mkdir $group && echo $period >$group/cpu.cfs_period_us && echo $((processors * period / 2)) >$group/cpu.cfs_quota_us; } 2>/dev/null && return
  fi
  rmdir $group 2>/dev/null || true
  group=
  return 1
}

train() {
  "$1"/lamina-train examples/configs/quickstart_lora_sft.yaml output_dir="$work/lora" plot_loss=false max_steps="$steps"
}
answer() {
  "$1"/lamina-train examples/configs/quickstart_predict.yaml output_dir="$work/answers" max_samples=$((4 * steps))
}
# measure NAME COMMAND BIN [GROUP]: adds "wall cpu" to $work/NAME.
measure() {
  local TIMEFORMAT='%R %U %S'
  { time (
    [ -z "${4:-}" ] || echo "$BASHPID" >"$4/cgroup.procs"
    "$2" "$3" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  ); } 2>&1 | awk '{ print $1, $2 + $3 }' >>"$work/$1"
}
# median NAME COLUMN
median() { awk -v c="$2" '{ print $c }' "$work/$1" | sort -g | awk '{ x[NR] = $1 } END { print NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'; }

failed=0
# row WHAT NAME SHARE BASE: a line of the table; SHARE of the processors, against BASE's time alone.
row() {
  awk -v what="$1" -v share="$3" -v wall="$(median "$2" 1)" -v cpu="$(median "$2" 2)" -v base="$(median "$4" 1)" -v limit=$limit 'BEGIN {
    ratio = wall * share / base
    over = ratio > limit
    printf "| %s | %.2f s | %.2f s | %.2f%s |\n", what, wall, cpu, ratio, over ? ", over the limit of " limit : ""
    exit over }' || failed=1
}

make_group || echo "skipped: no control group may be made here, so nothing runs under a quota"
for round in $(seq "$rounds"); do
  for task in train answer; do
    measure $task.alone $task "$bin"
    [ -z "${PEER:-}" ] || measure $task.peer $task "$PEER"
    start_neighbours
    measure $task.busy $task "$bin"
    stop_neighbours
    [ -z "$group" ] || measure $task.quota $task "$bin" "$group"
  done
done
printf '%d processors, %d steps, four times as many answers, medians of %d\n\n' "$processors" "$steps" "$rounds"
printf '| what | wall | CPU time | wall x share / alone |\n| --- | ---: | ---: | ---: |\n'
for task in train answer; do
  row "$task, alone" $task.alone 1 $task.alone
  [ -z "${PEER:-}" ] || row "$task, alone, against PEER's" $task.alone 1 $task.peer
  row "$task, beside a busy loop per processor" $task.busy 0.5 $task.alone
  [ -z "$group" ] || row "$task, quota of half the processors" $task.quota 0.5 $task.alone
done

# ticks PID: processor time that a process has used, in ticks of the kernel.
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }
"$bin"/lamina-serve --host 127.0.0.1 --port 0 --model data/qwen3_vl_nano >"$work/serve.log" 2>&1 &
server=$!
for _ in $(seq 100); do grep -q 'http://127' "$work/serve.log" && break; sleep 0.1; done
sleep 1
before=$(ticks $server) && sleep 5 && after=$(ticks $server)
kill $server && wait $server || true
printf '| an idle server, 5 s | | %.2f s | |\n' "$(awk -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" 'BEGIN { print t / hz }')"
[ $((after - before)) -le 2 ] || failed=1
exit $failed
