#pragma once
#include <string_view>

namespace lamina::serve {

/// What a page may do: run its own script, and talk to its own server.
inline constexpr std::string_view page_policy =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

/// How each page of the programs begins: colours, buttons and a header; the page's own rules of style follow.
inline constexpr std::string_view page_head = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lamina</title>
<style>
:root { --page: #f7f7f5; --card: #fff; --text: #1d1f21; --soft: #6b7075; --line: #dcdcd8; --accent: #1f6f5c; --other: #b3541e; --bad: #b3261e; }
[data-theme=dark] { --page: #17191b; --card: #212427; --text: #e6e6e3; --soft: #9aa0a6; --line: #363a3e; --accent: #5cc2a6; --other: #e9a06b; --bad: #f2867e; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.55 system-ui, "Noto Sans CJK SC", sans-serif; }
header { background: var(--card); border-bottom: 1px solid var(--line); padding: 8px 16px; display: flex; gap: 14px; align-items: center; flex-wrap: wrap; }
header b { font-size: 17px; }
button, input, textarea { font: inherit; color: inherit; background: var(--page); border: 1px solid var(--line); border-radius: 6px; padding: 4px 10px; }
button { cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); }
)html";

/// How each page's script begins: two languages and two themes. The page's own script has the texts, words.en and
/// words.zh, and calls begin() at its end.
inline constexpr std::string_view page_script = R"html(<script>
"use strict";
const by = (id) => document.getElementById(id);
const made = (tag, kind, text) => Object.assign(document.createElement(tag), { className: kind || "", textContent: text || "" });
const stored = (name, otherwise) => localStorage.getItem("lamina." + name) || otherwise;
const store = (name, value) => localStorage.setItem("lamina." + name, value);

let language = stored("language", navigator.language.startsWith("zh") ? "zh" : "en");
const said = (key) => words[language][key] || key;
function speak() {
  document.documentElement.lang = language;
  for (const at of document.querySelectorAll("[data-text]")) at.textContent = said(at.dataset.text);
  for (const at of document.querySelectorAll("[data-title]")) at.title = said(at.dataset.title);
  for (const at of document.querySelectorAll("[data-hint]")) at.placeholder = said(at.dataset.hint);
  by("language").textContent = language === "zh" ? "English" : "中文";
}
function paint(theme) { document.documentElement.dataset.theme = theme; }
// The last thing that a page calls; `show` is called again in each language.
function begin(show) {
  by("language").onclick = () => { language = language === "zh" ? "en" : "zh"; store("language", language); speak(); show(); };
  by("theme").onclick = () => { const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark"; store("theme", theme); paint(theme); };
  paint(stored("theme", matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  speak();
  show();
}
)html";

}  // namespace lamina::serve
