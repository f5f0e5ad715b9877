#pragma once
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/serve/page.hpp>

namespace lamina::serve {

namespace detail {

inline constexpr std::string_view run_page_body = R"html(#folder { overflow-wrap: anywhere; }
#status { flex: 1; color: var(--soft); }
#status.failed { color: var(--bad); }
main { max-width: 1400px; margin: 0 auto; padding: 16px; }
#bar { height: 6px; background: var(--line); border-radius: 3px; overflow: hidden; margin-bottom: 16px; }
#bar div { height: 100%; width: 0; background: var(--accent); }
#figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 12px; margin-bottom: 16px; }
#figures div, figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 8px 14px; }
#figures span { display: block; color: var(--soft); font-size: 13px; }
#figures strong { font-weight: 600; font-size: 18px; white-space: nowrap; }
#curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 12px; }
figure { margin: 0; }
figcaption { display: flex; gap: 12px; font-size: 13px; color: var(--soft); }
figcaption b { color: var(--text); flex: 1; overflow-wrap: anywhere; }
.key0 { color: var(--accent); } .key1 { color: var(--other); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; }
svg line { stroke: var(--line); }
svg path { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.curve0 { stroke: var(--accent); } .curve1 { stroke: var(--other); } .faint { opacity: .35; }
.dots { stroke-linecap: round; stroke-width: 6; }
</style>
</head>
<body>
<header>
  <b>Lamina</b><span id="folder"></span><span id="status"></span>
  <button id="theme" data-title="theme">◐</button>
  <button id="language">中文</button>
</header>
<main>
  <div id="bar"><div></div></div>
  <div id="figures"></div>
  <div id="curves"></div>
</main>
)html";

inline constexpr std::string_view run_page_script = R"html(const words = {
  en: { theme: "Dark or light", step: "step", epoch: "epoch", loss: "loss", eval_loss: "evaluation loss", lr: "learning rate", grad_norm: "gradient norm",
        samples_per_second: "samples/s", memory_gib: "memory, GiB", throughput: "tokens/s", accuracy: "accuracy", elapsed_time: "time", remaining_time: "time left",
        running: "running", finished: "finished", empty: "no line of a log yet", ago: (text) => `the last line is ${text} old`,
        away: "The program that serves this page has ended or cannot be reached. To open it again: lamina-train --watch PORT FOLDER" },
  zh: { theme: "深色或浅色", step: "步数", epoch: "轮数", loss: "损失", eval_loss: "评估损失", lr: "学习率", grad_norm: "梯度范数",
        samples_per_second: "样本/秒", memory_gib: "内存（GiB）", throughput: "词元/秒", accuracy: "准确率", elapsed_time: "已用时间", remaining_time: "剩余时间",
        running: "运行中", finished: "已结束", empty: "尚无日志", ago: (text) => `最后一行写于 ${text} 前`,
        away: "提供此页面的程序已结束或无法连接。重新打开：lamina-train --watch PORT FOLDER" },
};
function drawn(tag, attributes, text) {
  const at = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) at.setAttribute(name, value);
  if (text !== undefined) at.textContent = text;
  return at;
}

// What is known of the run: of each number the steps and values, from the log's lines and, of what these lack, from
// trainer_state.json.
let lines, history, last, next, age = 0, reachable = true;
function forget() { lines = new Map(), history = new Map(), last = null, next = 0; }
forget();

const places = ["current_steps", "total_steps", "epoch", "percentage", "total_tokens", "step"];
function put(into, step, name, value) {
  if (typeof value !== "number" || !isFinite(value) || places.includes(name)) return;
  if (!into.has(name)) into.set(name, { x: [], y: [] });
  const { x, y } = into.get(name);
  while (x.length && x[x.length - 1] >= step) x.pop(), y.pop();   // a run that was resumed
  x.push(step), y.push(value);
}
function takeLine(text) {
  let line;
  try { line = JSON.parse(text); } catch { return; }
  if (!line || typeof line.current_steps !== "number") return;
  last = line;
  for (const [name, value] of Object.entries(line)) put(lines, line.current_steps, name, value);
}
function takeState(text) {
  let state;
  try { state = JSON.parse(text); } catch { return; }
  if (!state || !Array.isArray(state.log_history)) return;
  history = new Map();
  last = last || { current_steps: state.global_step, total_steps: state.max_steps, epoch: state.epoch, percentage: 100 * state.global_step / state.max_steps };
  for (const entry of state.log_history) {
    if (!entry || typeof entry.step !== "number" || "train_runtime" in entry && "train_loss" in entry) continue;
    for (const [name, value] of Object.entries(entry))
      if (!/(_runtime|_per_second|_input_tokens_seen|^total_flos)$/.test(name)) put(history, entry.step, name === "learning_rate" ? "lr" : name, value);
  }
}

const finished = () => last && last.total_steps > 0 && last.current_steps >= last.total_steps;
let stateOf = -2;   // the step that the state was read at
async function readState() {
  const at = last ? last.current_steps : -1;
  if (stateOf === at || (stateOf >= -1 && !finished())) return;
  stateOf = at;
  const response = await fetch("state");
  if (response.ok) takeState(await response.text());
}
async function readLog() {
  for (;;) {
    const response = await fetch("log?from=" + next);
    if (!response.ok) throw Error(await response.text());
    const text = await response.text(), from = Number(response.headers.get("Lamina-From"));
    if (from !== next) forget(), stateOf = -2;
    next = Number(response.headers.get("Lamina-Next")), age = Number(response.headers.get("Lamina-Age"));
    text.split("\n").forEach(takeLine);
    if (!text) return;
  }
}
async function look() {
  try {
    if (!by("folder").textContent) {
      const about = await (await fetch("run")).json();
      by("folder").textContent = about.folder;
      document.title = about.folder + " · Lamina";
    }
    await readLog();
    await readState();
    reachable = true;
  } catch { reachable = false; }
  show();
  setTimeout(look, reachable ? 2000 : 5000);
}

function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e6 ? value.toExponential(2).replace("e+", "e") : String(Number(value.toPrecision(4)));
}
function latest(name) {
  const series = lines.get(name) || history.get(name);
  return series && series.y.length ? number(series.y[series.y.length - 1]) : "";
}
function showFigures() {
  const rows = [];
  if (last) {
    rows.push(["step", `${last.current_steps} / ${last.total_steps}`], ["epoch", "epoch" in last ? number(last.epoch) : ""]);
    for (const name of ["loss", "eval_loss", "lr", "grad_norm", "samples_per_second", "throughput", "memory_gib", "accuracy"]) rows.push([name, latest(name)]);
    for (const name of ["elapsed_time", "remaining_time"]) rows.push([name, String(last[name] || "")]);
  }
  by("figures").replaceChildren(...rows.filter(([, text]) => text !== "").map(([name, text]) => {
    const box = made("div");
    box.id = "figure-" + name;
    box.append(made("span", "", said(name)), made("strong", "", text));
    return box;
  }));
  by("bar").firstElementChild.style.width = (last ? Math.min(100, last.percentage || 0) : 0) + "%";
}
function showStatus() {
  const minutes = Math.floor(age / 60), parts = [!last ? said("empty") : finished() ? said("finished") : said("running")];
  if (last && !finished() && minutes >= 1) parts.push(said("ago")(minutes < 120 ? minutes + " min" : Math.floor(minutes / 60) + " h"));
  by("status").textContent = reachable ? parts.join(" · ") : said("away");
  by("status").classList.toggle("failed", !reachable);
}

// Curves. Widths and heights are those of the drawing, which the page scales.
const width = 640, height = 240, left = 62, right = 12, top_ = 10, bottom = 24, most = 500;
function thin({ x, y }) {   // the least and greatest of each bucket, so that no peak is lost
  if (x.length <= 2 * most) return { x, y };
  const out = { x: [], y: [] }, size = x.length / most;
  for (let b = 0; b < most; ++b) {
    let low = Math.floor(b * size), high = low;
    for (let i = low; i < Math.floor((b + 1) * size); ++i) {
      if (y[i] < y[low]) low = i;
      if (y[i] > y[high]) high = i;
    }
    for (const i of low < high ? [low, high] : [high, low]) out.x.push(x[i]), out.y.push(y[i]);
  }
  return out;
}
function smooth({ x, y }) {   // as LLaMA-Factory's plots do
  const weight = 1.8 * (1 / (1 + Math.exp(-0.05 * y.length)) - 0.5);
  let mean = y[0];
  return { x, y: y.map((value) => mean = mean * weight + (1 - weight) * value) };
}
function ticks(low, high) {
  const raw = (high - low) / 4, unit = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].find((n) => n * unit >= raw) * unit, out = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; ++i) out.push(i * step);
  return out;
}
function range(all, of) {
  let low = Infinity, high = -Infinity;
  for (const series of all) for (const value of series[of]) low = Math.min(low, value), high = Math.max(high, value);
  if (low === high) low -= Math.abs(low) / 10 || 1, high += Math.abs(high) / 10 || 1;
  return [low, high];
}
function curve(name, all) {   // all: [{ name, x, y }]
  const box = made("figure"), caption = made("figcaption"), svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  box.id = "curve-" + name;
  caption.append(made("b", "", said(name)), ...(all.length > 1 ? all.map((series, i) => made("span", "key" + i, said(series.name))) : []), made("span", "here"));
  const [x0, x1] = range(all, "x"), [y0, y1] = range(all, "y");
  const atX = (x) => left + (x - x0) / (x1 - x0) * (width - left - right), atY = (y) => top_ + (y1 - y) / (y1 - y0) * (height - top_ - bottom);
  for (const y of ticks(y0, y1)) svg.append(drawn("line", { x1: left, x2: width - right, y1: atY(y), y2: atY(y) }), drawn("text", { x: left - 6, y: atY(y) + 4, "text-anchor": "end" }, number(y)));
  for (const x of ticks(x0, x1)) svg.append(drawn("text", { x: atX(x), y: height - 6, "text-anchor": "middle" }, number(x)));
  const line = ({ x, y }) => x.map((at, i) => (i ? "L" : "M") + atX(at).toFixed(1) + " " + atY(y[i]).toFixed(1)).join("");
  const dots = ({ x, y }) => x.map((at, i) => `M${atX(at).toFixed(1)} ${atY(y[i]).toFixed(1)}h0`).join("");
  all.forEach((series, i) => {
    const smoothed = series.name === "loss" && series.x.length > 20, few = series.x.length <= 40;
    svg.append(drawn("path", { class: `curve${i}${smoothed ? " faint" : ""}`, d: line(thin(series)) }));
    if (smoothed) svg.append(drawn("path", { class: "curve" + i, d: line(thin(smooth(series))) }));
    if (few) svg.append(drawn("path", { class: `curve${i} dots`, d: dots(series) }));
  });
  svg.onmousemove = (event) => {
    const side = svg.getBoundingClientRect(), want = x0 + ((event.clientX - side.left) / side.width * width - left) / (width - left - right) * (x1 - x0);
    caption.lastChild.textContent = all.map(({ x, y }) => {
      let low = 0, high = x.length - 1;
      while (low < high) { const middle = (low + high) >> 1; if (x[middle] < want) low = middle + 1; else high = middle; }
      if (low > 0 && want - x[low - 1] < x[low] - want) --low;
      return `${x[low]}: ${number(y[low])}`;
    }).join("  ");
  };
  svg.onmouseleave = () => { caption.lastChild.textContent = ""; };
  box.append(caption, svg);
  return box;
}
let shown = "";
function showCurves() {
  const known = [...new Set([...lines.keys(), ...history.keys()])].filter((name) => name !== "eval_loss");
  const first = ["loss", "lr", "grad_norm", "samples_per_second", "memory_gib"].filter((name) => known.includes(name));
  const names = [...first, ...known.filter((name) => !first.includes(name))];
  if (!names.includes("loss") && (lines.has("eval_loss") || history.has("eval_loss"))) names.unshift("loss");
  const sources = new Map(names.map((name) => [name, (name === "loss" ? ["loss", "eval_loss"] : [name])
    .map((of) => ({ name: of, ...(lines.get(of) || history.get(of)) })).filter(({ x }) => x && x.length)]));
  const now = language + next + [...sources.values()].flat().map(({ name, x }) => name + x.length).join();
  if (now === shown) return;
  shown = now;
  by("curves").replaceChildren(...[...sources].map(([name, all]) => curve(name, all)));
}
function show() { showStatus(), showFigures(), showCurves(); }

begin(show);
look();
</script>
</body>
</html>
)html";

}  // namespace detail

/// A page of a run: figures, and a curve of each number in the log. It fetches the run's files and nothing else, only
/// the new lines of them, and shows their content as text, never as HTML.
inline std::string run_page() { return cat(page_head, detail::run_page_body, page_script, detail::run_page_script); }

}  // namespace lamina::serve
