#pragma once
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/serve/page.hpp>

namespace lamina::serve {

namespace detail {

inline constexpr std::string_view chat_page_body = R"html(body { height: 100vh; display: flex; flex-direction: column; }
footer { background: var(--card); border-top: 1px solid var(--line); padding: 8px 16px; }
#models { display: flex; gap: 12px; flex: 1; flex-wrap: wrap; }
button.main { background: var(--accent); border-color: var(--accent); color: var(--card); padding: 6px 18px; }
button:disabled { opacity: .5; cursor: default; }
main { flex: 1; display: flex; min-height: 0; }
#settings { width: 250px; padding: 14px 16px; overflow-y: auto; border-right: 1px solid var(--line); background: var(--card); }
#settings label { display: block; margin-bottom: 10px; color: var(--soft); font-size: 13px; }
#settings input, #settings textarea { width: 100%; margin-top: 2px; color: var(--text); font-size: 14px; }
#talk { flex: 1; overflow-y: auto; padding: 16px; }
.turn { max-width: 1200px; margin: 0 auto 18px; }
.asked { background: var(--line); border-radius: 10px; padding: 8px 12px; width: fit-content; max-width: 80%; margin: 0 0 10px auto; white-space: pre-wrap; overflow-wrap: anywhere; }
.images { display: flex; gap: 8px; flex-wrap: wrap; }
.images img { max-height: 160px; max-width: 260px; border-radius: 6px; display: block; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 12px; }
.answer { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.answer h4 { margin: 0 0 4px; font-size: 13px; color: var(--accent); overflow-wrap: anywhere; }
.answer .text { white-space: pre-wrap; overflow-wrap: anywhere; min-height: 1.5em; }
.answer .thought { white-space: pre-wrap; color: var(--soft); font-size: 14px; border-left: 3px solid var(--line); padding-left: 10px; }
.answer .rate { color: var(--soft); font-size: 12px; margin-top: 6px; }
.answer.failed .text { color: var(--bad); }
#draft { max-width: 1200px; margin: 0 auto; display: flex; gap: 10px; align-items: end; }
#draft textarea { flex: 1; resize: vertical; min-height: 44px; max-height: 40vh; }
#thumbs { max-width: 1200px; margin: 0 auto; }
#thumbs button { padding: 0; border: 0; position: relative; margin-bottom: 8px; }
#thumbs img { max-height: 72px; }
#thumbs button::after { content: "×"; position: absolute; top: 2px; right: 4px; background: var(--card); border-radius: 50%; width: 18px; line-height: 18px; }
.dropping { outline: 3px dashed var(--accent); outline-offset: -6px; }
@media (max-width: 720px) { main { flex-direction: column; } #settings { width: auto; max-height: 40vh; border-right: 0; border-bottom: 1px solid var(--line); } }
</style>
</head>
<body>
<header>
  <b>Lamina</b><div id="models" role="group"></div>
  <button id="clear" data-text="clear"></button>
  <button id="toggle" data-text="settings"></button>
  <button id="theme" data-title="theme">◐</button>
  <button id="language">中文</button>
</header>
<main>
  <aside id="settings" hidden>
    <label><span data-text="system"></span><textarea id="system" rows="3"></textarea></label>
    <label>temperature<input id="temperature" type="number" min="0" max="2" step="0.1"></label>
    <label>top_p<input id="top_p" type="number" min="0" max="1" step="0.05"></label>
    <label>top_k<input id="top_k" type="number" min="-1" step="1"></label>
    <label>repetition_penalty<input id="repetition_penalty" type="number" min="0" max="2" step="0.05"></label>
    <label>max_tokens<input id="max_tokens" type="number" min="1" step="1"></label>
    <label>seed<input id="seed" type="number" step="1"></label>
    <label><span data-text="key"></span><input id="key" type="password" autocomplete="off"></label>
  </aside>
  <div id="talk"></div>
</main>
<footer>
  <div id="thumbs" class="images"></div>
  <div id="draft">
    <button id="attach" data-title="attach">+</button>
    <input id="files" type="file" accept="image/*" multiple hidden>
    <textarea id="prompt" rows="2" data-hint="hint"></textarea>
    <button id="send" class="main" data-text="send"></button>
    <button id="stop" class="main" data-text="stop" hidden></button>
  </div>
</footer>
)html";

inline constexpr std::string_view chat_page_script = R"html(const words = {
  en: { clear: "Clear", settings: "Settings", theme: "Dark or light", system: "System prompt", key: "API key", attach: "Add images",
        hint: "Ask. Enter sends, Shift+Enter is a new line; drop or paste images", send: "Send", stop: "Stop", none: "Choose a model above",
        first: "first token", rate: "tokens/s", tokens: "tokens", prompt: "of the prompt", cut: "cut off at max_tokens", stopped: "stopped" },
  zh: { clear: "清空", settings: "设置", theme: "深色或浅色", system: "系统提示词", key: "API 密钥", attach: "添加图片",
        hint: "输入问题。回车发送，Shift+回车换行；可拖入或粘贴图片", send: "发送", stop: "停止", none: "请先在上方选择模型",
        first: "首个词元", rate: "词元/秒", tokens: "词元", prompt: "提示词", cut: "达到 max_tokens 而截断", stopped: "已停止" },
};
const api = (path) => new URL("v1/" + path, document.baseURI);

const turns = [];     // { content, answers: { model: text } }: each model reads its own conversation
let images = [];      // data URLs of the next question
let running = null;   // AbortController of the answers under way

const headers = () => ({ "Content-Type": "application/json", ...(by("key").value ? { Authorization: "Bearer " + by("key").value } : {}) });
async function failure(response) {
  const text = await response.text();
  try { const error = JSON.parse(text); return (error.error || error).message || text; } catch { return text || response.statusText; }
}

async function listModels() {
  const box = by("models");
  try {
    const response = await fetch(api("models"), { headers: headers() });
    if (!response.ok) throw Error(await failure(response));
    const chosen = [...box.querySelectorAll("input:checked")].map((at) => at.value);
    box.replaceChildren(...(await response.json()).data.map(({ id }, i) => {
      const label = made("label"), tick = Object.assign(made("input"), { type: "checkbox", value: id });
      tick.checked = chosen.length ? chosen.includes(id) : i === 0;
      label.append(tick, " " + id);
      return label;
    }));
  } catch (error) { box.replaceChildren(made("span", "", error.message)); }
}

function question(text) {
  const parts = images.map((url) => ({ type: "image_url", image_url: { url } }));
  return parts.length ? [...parts, { type: "text", text }] : text;
}
function request(model, upTo) {
  const messages = by("system").value ? [{ role: "system", content: by("system").value }] : [];
  for (const turn of turns.slice(0, upTo + 1)) {
    messages.push({ role: "user", content: turn.content });
    if (turn.answers[model]) messages.push({ role: "assistant", content: turn.answers[model] });
  }
  const body = { model, messages, stream: true, stream_options: { include_usage: true } };
  for (const name of ["temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed"])
    if (by(name).value !== "") body[name] = Number(by(name).value);
  return body;
}

/// Calls take(event) for each event of a stream.
async function events(response, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines)
      if (line.startsWith("data: ") && line !== "data: [DONE]") take(JSON.parse(line.slice(6)));
  }
}

async function answer(model, turn, card, signal) {
  const text = card.querySelector(".text"), rate = card.querySelector(".rate"), began = performance.now();
  let first = 0, last = 0, usage = null, note = "";
  const tell = () => {
    const parts = [];
    if (first) parts.push(`${said("first")} ${Math.round(first - began)} ms`);
    if (usage && usage.completion_tokens > 1 && last > first)
      parts.push(`${((usage.completion_tokens - 1) * 1000 / (last - first)).toFixed(1)} ${said("rate")}`);
    if (usage) parts.push(`${usage.completion_tokens} ${said("tokens")}, ${usage.prompt_tokens} ${said("prompt")}`);
    if (note) parts.push(note);
    rate.textContent = parts.join(" · ");
  };
  try {
    const response = await fetch(api("chat/completions"),
                                 { method: "POST", headers: headers(), body: JSON.stringify(request(model, turns.indexOf(turn))), signal });
    if (!response.ok) throw Error(await failure(response));
    await events(response, (event) => {
      if (event.error) throw Error(event.error.message);
      usage = event.usage || usage;
      const choice = (event.choices || [])[0];
      if (!choice) return;
      const thought = choice.delta.reasoning || choice.delta.reasoning_content, piece = choice.delta.content;
      if (thought || piece) last = performance.now(), first = first || last;
      if (thought) {
        if (!card.querySelector(".thought")) text.before(made("div", "thought"));
        card.querySelector(".thought").textContent += thought;
      }
      if (piece) text.textContent += piece, turn.answers[model] = text.textContent;
      if (choice.finish_reason === "length") note = said("cut");
      const talk = by("talk");
      if (talk.scrollHeight - talk.scrollTop - talk.clientHeight < 120) talk.scrollTop = talk.scrollHeight;
    });
  } catch (error) {
    if (error.name === "AbortError") note = said("stopped");
    else card.classList.add("failed"), text.textContent += (text.textContent ? "\n" : "") + error.message;
  }
  tell();
  card.dataset.done = "yes";
}

async function send() {
  const text = by("prompt").value.trim(), models = [...document.querySelectorAll("#models input:checked")].map((at) => at.value);
  if (running || (!text && !images.length)) return;
  if (!models.length) return alert(said("none"));
  const turn = { content: question(text), answers: {} };
  turns.push(turn);
  const box = made("div", "turn"), asked = made("div", "asked", text), answers = made("div", "answers");
  if (images.length) {
    const shown = made("div", "images");
    shown.append(...images.map((src) => Object.assign(made("img"), { src, alt: "" })));
    asked.prepend(shown);
  }
  const cards = models.map((model) => {
    const card = made("section", "answer");
    card.append(made("h4", "", model), made("div", "text"), made("div", "rate"));
    return card;
  });
  answers.append(...cards);
  box.append(asked, answers);
  by("talk").append(box);
  by("talk").scrollTop = by("talk").scrollHeight;
  by("prompt").value = "", images = [], showThumbs();
  running = new AbortController();
  by("send").hidden = true, by("stop").hidden = false;
  await Promise.all(models.map((model, i) => answer(model, turn, cards[i], running.signal)));
  running = null;
  by("send").hidden = false, by("stop").hidden = true;
}

function showThumbs() {
  by("thumbs").replaceChildren(...images.map((src, i) => {
    const button = made("button");
    button.append(Object.assign(made("img"), { src, alt: "" }));
    button.onclick = () => { images.splice(i, 1); showThumbs(); };
    return button;
  }));
}
async function addFiles(files) {
  for (const file of files) {
    if (!file.type.startsWith("image/")) continue;
    images.push(await new Promise((done, fail) => {
      const reader = new FileReader();
      reader.onload = () => done(reader.result), reader.onerror = () => fail(reader.error);
      reader.readAsDataURL(file);
    }));
  }
  showThumbs();
}

by("send").onclick = send;
by("stop").onclick = () => running && running.abort();
by("prompt").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) event.preventDefault(), send();
};
by("prompt").onpaste = (event) => addFiles(event.clipboardData.files);
by("attach").onclick = () => by("files").click();
by("files").onchange = (event) => { addFiles(event.target.files).then(() => { event.target.value = ""; }); };
document.ondragover = (event) => { event.preventDefault(); document.body.classList.add("dropping"); };
document.ondragleave = (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); };
document.ondrop = (event) => { event.preventDefault(); document.body.classList.remove("dropping"); addFiles(event.dataTransfer.files); };
by("clear").onclick = () => { if (running) running.abort(); turns.length = 0; by("talk").replaceChildren(); };
by("toggle").onclick = () => { by("settings").hidden = !by("settings").hidden; };
by("key").onchange = () => { sessionStorage.setItem("lamina.key", by("key").value); listModels(); };

by("key").value = sessionStorage.getItem("lamina.key") || "";
begin(() => {});
listModels();
</script>
</body>
</html>
)html";

}  // namespace detail

/// It shows what was dropped on it too.
inline std::string chat_page_policy() { return cat(page_policy, "; img-src data:"); }

/// A page for a look at the model: chat with images, several models side by side, rates. It fetches nothing but the
/// API, and text of models and people is shown as text, never as HTML.
inline std::string chat_page() { return cat(page_head, detail::chat_page_body, page_script, detail::chat_page_script); }

}  // namespace lamina::serve
