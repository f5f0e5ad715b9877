#include <lamina/core/error.hpp>
#include <lamina/model/families.hpp>
#include <lamina/text/jinja/template.hpp>
#include "support.hpp"

#include <string>

using namespace lamina::text;
using Json = nlohmann::ordered_json;

namespace {

jinja::TemplateVariables variables_of(const Json& object) {
  jinja::TemplateVariables out;
  for (const auto& [name, value] : object.items()) out.set(name, value);
  return out;
}

/// The text, or the message of the error behind "! ".
std::string outcome(const std::string& source, const Json& variables, const jinja::TemplateLimits& limits = {}) {
  try {
    return joined(jinja::Template::compile(source, limits).render(variables_of(variables)));
  } catch (const lamina::Error& e) {
    return std::string("! ") + e.what();
  }
}

}  // namespace

TEST_CASE("jinja: each construct is rendered as transformers renders it") {
  const Json golden = test_text::read_json("jinja.json");
  REQUIRE(golden["constructs"].size() >= 500);
  for (const auto& row : golden["constructs"]) {
    const std::string source = row[0];
    const std::string text = outcome(source, golden["common"]);
    CAPTURE(source, text);
    if (row[1].is_null())
      CHECK(text.starts_with("! "));
    else
      CHECK(text == row[1].get<std::string>());
  }
}

TEST_CASE("jinja: released templates write what transformers writes") {
  const auto qwen3 = jinja::Template::compile(lamina::qwen3_vl::chat.released_template);
  const auto qwen2_5 = jinja::Template::compile(lamina::qwen2_5_vl::chat.released_template);
  for (const auto& test : test_text::read_json("chat_template.json")) {
    const auto variables = variables_of(test);
    CAPTURE(test["name"].get<std::string>());
    CHECK(joined(qwen3.render(variables)) == test["qwen3_vl"].get<std::string>());
    CHECK(joined(qwen2_5.render(variables)) == test["qwen2_5_vl"].get<std::string>());
  }
}

namespace {

/// Prompts of a template by "conversation/tools/enable_thinking".
void check_prompts(const std::string& source, const Json& golden, const Json& prompts) {
  const auto compiled = jinja::Template::compile(source);
  REQUIRE(prompts.size() >= 60);
  for (const auto& [key, text] : prompts.items()) {
    CAPTURE(key);
    const auto slash = key.find('/');
    Json variables{{"messages", golden["conversations"][key.substr(0, slash)]}, {"add_generation_prompt", true}};
    variables["tools"] = key.substr(slash).starts_with("/True") ? golden["tools"] : Json();
    if (key.ends_with("/False")) variables["enable_thinking"] = false;
    CHECK(joined(compiled.render(variables_of(variables))) == text.get<std::string>());
  }
}

}  // namespace

TEST_CASE("jinja: a Thinking template and that of Qwen3 write what transformers writes") {
  const Json golden = test_text::read_json("jinja.json");
  check_prompts(golden["thinking_template"], golden, golden["thinking"]);
  const auto folder = test_text::qwen3_tokenizer();
  if (folder.empty()) return;
  const Json config = Json::parse(test_text::read_file(folder / "tokenizer_config.json"));
  check_prompts(config["chat_template"], golden, golden["qwen3"]);
}

TEST_CASE("jinja: what is not supported is refused by its name and line") {
  const auto refused = [](const std::string& source, const std::string& words) {
    CAPTURE(source);
    CHECK(outcome("\n" + source, {{"s", "x"}, {"d", {{"a", 1}}}}).starts_with("! chat template line 2: " + words));
  };
  refused("{% include 'x' %}", "{% include %} is not supported");
  refused("{% for x in s recursive %}{% endfor %}", "{% for ... recursive %} is not supported");
  refused("{% nope %}", "{% nope %} is unknown");
  refused("{% if s %}{{ s | truncate(3) }}{% endif %}", "the filter \"truncate\" is not supported");
  refused("{{ s is filter }}", "the test \"filter\" is not supported");
  refused("{{ s.format(1) }}", "the method format of a str is not supported");
  refused("{{ d.update({}) }}", "the method update of a dict is not supported");
  refused("{{ cycler(1) }}", "the function cycler is not supported");
  refused("{{ '%s' % s }}", "the % of strings is not supported");
  refused("{{ f(*s) }}", "arguments unpacked by * are not supported");
  refused("{% macro m() %}{{ varargs }}{% endmacro %}", "varargs of a macro is not supported");
  refused("{{ 9223372036854775807 + 1 }}", "an integer beyond 64 bits");
  refused("{{ d.a.b.c }}", "a int has no \"b\"");
  refused("{{ x.y }}", "'x' is undefined");
  refused("{% for x in s %}{{ s + 1 }}{% endfor %}", "cannot compute");
}

TEST_CASE("jinja: raise_exception is its text and nothing else") {
  const auto compiled = jinja::Template::compile("{{ raise_exception('no ' ~ s) }}");
  CHECK_THROWS_AS(compiled.render(variables_of({{"s", "tools"}})), jinja::RaisedByTemplate);
  CHECK(outcome("{{ raise_exception('no ' ~ s) }}", {{"s", "tools"}}) == "! no tools");
}

TEST_CASE("jinja: each byte of a prompt has its author") {
  const auto authors = [](const std::string& source) {
    std::string out;
    jinja::TemplateVariables variables;
    variables.set("s", "abc <|x|> d");
    variables.set("u", {{"k", "ü"}, {"list", {"p", "q"}}});
    variables.set("eos_token", "<eos>", jinja::TemplateVariables::Author::model_folder);
    for (const PromptSegment& segment : jinja::Template::compile(source).render(variables))
      out += segment.is_template ? segment.text : "[" + segment.text + "]";
    return out;
  };
  CHECK(authors("<{{ s }}>") == "<[abc <|x|> d]>");
  CHECK(authors("{{ '<' + s + '>' }}") == "<[abc <|x|> d]>");
  CHECK(authors("{{ ('<' ~ s ~ '>')[1:4] }}{{ ('<' ~ s)[0:2] }}") == "[abc]<[a]");
  CHECK(authors("{{ s.split('<|x|>')[1].strip() }}") == "[d]");
  CHECK(authors("{{ s.replace('abc', '<y>') }}") == "<y>[ <|x|> d]");
  CHECK(authors("{{ ('<' ~ u.k ~ '>') | upper }}") == "<[Ü]>");
  CHECK(authors("{{ u.list | join('<b>') }}") == "[p]<b>[q]");
  CHECK(authors("{{ u | tojson }}{{ {'a': 1} | tojson }}") == "[{\"k\": \"ü\", \"list\": [\"p\", \"q\"]}]{\"a\": 1}");
  CHECK(authors("{{ u.list }}") == "[['p', 'q']]");
  CHECK(authors("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(u.k) | trim }}") == "<[ü]>");
  CHECK(authors("{% set x %}<{{ u.k }}>{% endset %}{{ x }}{{ eos_token }}") == "<[ü]><eos>");
  CHECK(authors("{{ s | reverse }}") == "[d >|x|< cba]");
}

TEST_CASE("jinja: a template's work is bounded by the size of the conversation") {
  const auto stops = [](const std::string& source, const std::string& words) {
    CAPTURE(source);
    CHECK(outcome(source, {{"list", {1}}}).find(words) != std::string::npos);
  };
  stops("{% for i in range(10 ** 9) %}{% endfor %}", "steps");
  stops("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "takes more than 10");
  stops("{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}", "bytes");
  stops("{{ 'ab' * 10 ** 15 }}", "steps");
  stops("{{ [0] * 10 ** 15 }}", "steps");
  stops("{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}", "writes a text of");
  stops("{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = [n.l] %}{% endfor %}", "levels deep");
  stops("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "levels deep");
  stops("{{ " + std::string(300, '(') + "1" + std::string(300, ')') + " }}", "levels deep");
  stops("{{ 1" + std::string(1000, '+') + " 1 }}", "levels deep");
  std::string sum = "1";
  for (int i = 0; i < 300; ++i) sum += "+1";
  stops("{{ " + sum + " }}", "others inside each other");
  CHECK(outcome(std::string(101, ' '), {}, {.template_bytes = 100}).find("wanted at most 100") != std::string::npos);
}

TEST_CASE("jinja: the steps of a long conversation suffice, whatever its messages' size") {
  const auto compiled =
      jinja::Template::compile(test_text::read_json("jinja.json")["thinking_template"].get<std::string>());
  for (const auto& [count, bytes] : {std::pair{4096, 1}, {4096, 300}, {3, 1 << 20}}) {
    Json messages = Json::array();
    for (int i = 0; i < count; ++i)
      messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", std::string(bytes, 'x')}});
    jinja::TemplateVariables variables;
    variables.set("messages", messages);
    CHECK(joined(compiled.render(variables)).size() >
          static_cast<std::size_t>(count) * static_cast<std::size_t>(bytes));
  }
}

TEST_CASE("jinja: the date is that of the rendering, and rendering can be stopped") {
  CHECK(joined(jinja::Template::compile("{{ strftime_now('%Y') }}").render({}, {}, 1'000'000'000)) == "2001");
  std::stop_source stop;
  stop.request_stop();
  const auto loop = jinja::Template::compile("{% for i in range(10000) %}{% endfor %}");
  CHECK_THROWS_AS(loop.render({}, stop.get_token()), lamina::Cancelled);
  CHECK(loop.reads("range"));
  CHECK_FALSE(loop.reads("tools"));
}
