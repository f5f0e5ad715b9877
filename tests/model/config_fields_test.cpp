// What becomes of every field of a model's and an adapter's JSON files: none is passed over in silence.
#include <lamina/checkpoint/adapter/fields.hpp>
#include <lamina/checkpoint/generation_fields.hpp>
#include <lamina/model/config/read.hpp>
#include <lamina/model/model_facts.hpp>

#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"
#include "support/notes.hpp"

using namespace lamina;
using namespace lamina::checkpoint;
using lamina::testing::notes_of;
using nlohmann::json;

namespace {

const json& known_fields() {
  static const json golden_fields = json::parse(slurp(golden("fields.json")));
  return golden_fields;
}
const ConfigFormat& format_of(bool qwen3) { return qwen3 ? qwen3_vl::config : qwen2_5_vl::config; }
json layout(const std::string& name) { return json::parse(slurp(golden("layouts/" + name + ".json"))); }

ModelConfig load(const json& config) {
  const Scratch dir;
  spill(dir / "config.json", config.dump());
  return ModelConfig::load(dir.dir());
}
std::vector<Fact> facts(const ModelConfig& config) { return facts_of_config(config, config.tie_word_embeddings); }

void check_listed(const json& names, const std::vector<io::Field>& table) {
  for (const std::string name : names) {
    INFO(name);
    CHECK(io::find_field(table, name));
  }
}

/// Another value of the same kind.
json other_value(const json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() < 1 ? json(value.get<double>() * 2) : json(value.get<int>() * 2);
  if (value.is_array()) {
    json list = value;
    std::swap(list[0], list[1]);
    return list;
  }
  return "other";
}

/// A level of config.json and its table, in one layout of the file.
struct Level {
  std::string layout, object;
  bool qwen3, nested;
  json::json_pointer at() const { return json::json_pointer(object.empty() ? "" : "/" + object); }
  std::vector<io::Field> table() const {
    if (object == "vision_config") return fields_of_vision_config(format_of(qwen3));
    if (object == "text_config") return fields_of_text_config(format_of(qwen3));
    return object.empty() ? fields_of_model_config(format_of(qwen3), nested) : fields_of_rope();
  }
};
const Level levels[] = {
    {"qwen3_vl_2b_released", "", true, true},
    {"qwen3_vl_2b_released", "text_config", true, true},
    {"qwen3_vl_2b_released", "vision_config", true, true},
    {"qwen3_vl_2b_released", "text_config/rope_scaling", true, true},
    {"qwen3_vl_2b_resaved_v5", "text_config/rope_parameters", true, true},
    {"qwen2_5_vl_7b_released", "", false, false},
    {"qwen2_5_vl_7b_released", "vision_config", false, false},
    {"qwen2_5_vl_7b_released", "rope_scaling", false, false},
    {"qwen2_5_vl_7b_resaved_v5", "", false, true},
    {"qwen2_5_vl_7b_resaved_v5", "text_config", false, true},
    {"qwen2_5_vl_7b_resaved_v5", "vision_config", false, true},
};

}  // namespace

TEST_CASE("config.json: every field that transformers or a released file has is in the tables") {
  for (const std::string family : {"qwen3_vl", "qwen2_5_vl"}) {
    const bool qwen3 = family == "qwen3_vl";
    const json& fields = known_fields()[family];
    for (const bool nested : {true, false})
      check_listed(fields["config"], fields_of_model_config(format_of(qwen3), nested));
    check_listed(fields["text_config"], fields_of_text_config(format_of(qwen3)));
    check_listed(fields["vision_config"], fields_of_vision_config(format_of(qwen3)));
    check_listed(fields["rope"], fields_of_rope());
  }
  check_listed(known_fields()["generation_config"], io::joined({generation_fields}));
  check_listed(known_fields()["adapter_config"], io::joined({adapter_fields}));
}

TEST_CASE(
    "config.json: another value of a fact finds no model, a refused one is an error, one without effect has none") {
  for (const Level& level : levels) {
    const json original = layout(level.layout);
    const std::vector<Fact> before = facts(load(original));
    for (const io::Field& field : level.table()) {
      if (field.use == io::FieldUse::used || io::find_field(level.table(), field.name)->use != field.use) continue;
      json config = original;
      json& object = config[level.at()];
      const std::string name(field.name);
      CAPTURE(level.layout, level.object, name);
      if (field.use == io::FieldUse::fact) {
        object[name] = object.contains(name) ? other_value(object[name]) : name == "rope_theta" ? json(7) : json(true);
        if (name == "in_channels") object[name] = 6;
        if (name == "rope_theta" && object.contains("rope_parameters")) object["rope_parameters"].erase(name);
        if (name == "tie_word_embeddings" && config.contains("text_config")) config["text_config"][name] = object[name];
        if (name == "tie_word_embeddings") config[name] = object[name];
        bool differs = false;
        const std::string error = error_of([&] { differs = facts(load(config)) != before; });
        CHECK((differs || error != ""));
      } else {
        object[name] = 12345;
        std::vector<Fact> after;
        const std::string error = error_of([&] { after = facts(load(config)); });
        if (field.use == io::FieldUse::refused) {
          CHECK(::contains(error, name + " is 12345, wanted "));
          object[name] = json::parse(field.only).empty() ? json() : json::parse(field.only)[0];
          CHECK(error_of([&] { facts(load(config)); }) == "");
        } else {
          CHECK(error == "");
          CHECK(after == before);
        }
      }
    }
  }
}

TEST_CASE("config.json: notes name an unknown field and a stale copy, once") {
  json config = layout("qwen3_vl_2b_released");
  config["text_config"]["a_field_of_the_future"] = 1;
  config["hidden_size"] = 4096;
  config["vocab_size"] = 151936;
  const Scratch dir;
  spill(dir / "config.json", config.dump());
  const std::string file = (dir / "config.json").string();
  CHECK(notes_of([&] {
          ModelConfig::load(dir.dir());
          ModelConfig::load(dir.dir());
        }) == "note: " + file + ": text_config.a_field_of_the_future is not a known field and has no effect\n" +
                  "note: " + file + ": hidden_size has no effect: text_config.hidden_size counts\n");
  CHECK(notes_of([] { load(layout("qwen3_vl_2b_released")); }) == "");
  CHECK(notes_of([] { load(layout("qwen2_5_vl_3b_resaved_v5")); }) == "");
}

TEST_CASE("config.json: many unknown fields are one note, with a few of their names") {
  json many = json::object();
  for (int i = 1000; i < 3000; ++i) many["f" + std::to_string(i)] = i;
  CHECK(notes_of([&] {
          io::check_fields({many, "f.json"}, generation_fields);
        }) ==
        "note: f.json: f1000, f1001, f1002, f1003, f1004, f1005, f1006, f1007, ... (2000 in all) are not known fields "
        "and have no effect\n");
}

TEST_CASE("config.json: layers with sliding windows are refused, whole ones are not") {
  json config = layout("qwen2_5_vl_7b_resaved_v5");
  config["text_config"]["layer_types"][3] = "sliding_attention";
  CHECK(::contains(error_of([&] { load(config); }),
                   "layer_types has sliding_attention: sliding windows are not supported"));
}

TEST_CASE("generation_config.json: what would change an answer in transformers alone gets a note unless neutral") {
  const auto notes = [](const json& fields) {
    return notes_of([&] { io::check_fields({fields, "generation_config.json"}, generation_fields); });
  };
  CHECK(notes({{"do_sample", true}, {"top_k", 20}, {"num_beams", 1}, {"length_penalty", 1.0}}) == "");
  CHECK(::contains(notes({{"num_beams", 4}}), "generation_config.json: num_beams has no effect: beam search"));
  CHECK(notes({{"do_sample", false}}) == "");  // as in vLLM, temperature decides
  CHECK(::contains(notes({{"suppress_tokens", {1}}}), "suppress_tokens has no effect"));
  CHECK(notes({{"suppress_tokens", json::array()}}) == "");
}
