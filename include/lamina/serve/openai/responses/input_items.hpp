#pragma once
#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/serve/openai/request/json_fields.hpp>
#include <lamina/serve/openai/responses/request_places.hpp>

namespace lamina::serve {

/// Writes the items of a response's input as chat messages. A thought, a text and calls that follow each other become
/// one assistant message, in this order.
class InputItems {
 public:
  InputItems(RequestPlaces& places, Json& messages) : places_(places), messages_(messages) {}

  void add(const Json& items) {
    if (!items.is_array()) throw wrong_field("input", shown(items), "a text or a list of items");
    for (std::size_t i = 0; i < items.size(); ++i) {
      at_ = cat("input.", i);
      const Fields item(items[i], at_);
      add_item(item, item.text("type", "message"));
    }
  }

 private:
  void add_item(const Fields& item, const std::string& type) {
    if (type == "message") {
      add_message(item);
    } else if (type == "function_call") {
      add_call(item);
    } else if (type == "function_call_output") {
      append({{"role", "tool"}, {"tool_call_id", item.text("call_id")}, {"content", parts_of(item, "output")}});
    } else if (type == "reasoning") {
      add_thought(item);
    } else if (type == "item_reference") {
      throw not_implemented(at_, at_ + ": is an item_reference, but items are not stored; send the item itself");
    } else {
      throw not_implemented(at_ + ".type", cat(at_, ".type: is ", clipped(type), ", wanted message, function_call, ",
                                               "function_call_output or reasoning"));
    }
  }

  void append(Json message) {
    places_.add(cat("messages.", messages_.size()), at_);
    messages_.push_back(std::move(message));
  }
  /// The assistant message that an item continues; a new one if the last message has one of these members already.
  Json& assistant(std::initializer_list<const char*> later) {
    const bool begun = !messages_.empty() && messages_.back()["role"] == "assistant";
    const auto taken = [&](const char* name) { return messages_.back().contains(name); };
    if (!begun || std::any_of(later.begin(), later.end(), taken)) append({{"role", "assistant"}});
    return messages_.back();
  }

  void add_message(const Fields& item) {
    const std::string role = item.text("role");
    if (role == "assistant") {
      assistant({"content", "tool_calls"})["content"] = parts_of(item, "content");
      return;
    }
    static constexpr std::string_view roles[] = {"user", "system", "developer"};
    if (std::find(std::begin(roles), std::end(roles), role) == std::end(roles))
      throw wrong_field(at_ + ".role", clipped(role), "user, assistant, system or developer");
    append({{"role", role}, {"content", parts_of(item, "content")}});
  }
  void add_call(const Fields& item) {
    Json& calls = assistant({})["tool_calls"];
    places_.add(cat("messages.", messages_.size() - 1, ".tool_calls.", calls.size(), ".function"), at_);
    calls.push_back({{"id", item.text("call_id")},
                     {"type", "function"},
                     {"function", {{"name", item.text("name")}, {"arguments", item.require("arguments")}}}});
  }
  /// Its content, or its summary if it has none. Thoughts that another server has encrypted cannot be read.
  void add_thought(const Fields& item) {
    std::string thought = texts_of(item, "content", "reasoning_text");
    if (thought.empty()) thought = texts_of(item, "summary", "summary_text");
    if (thought.empty() && item.find("encrypted_content"))
      throw not_implemented(at_ + ".encrypted_content",
                            at_ + ".encrypted_content: cannot be read here; send the thought as content");
    assistant({"reasoning", "content", "tool_calls"})["reasoning"] = thought;
  }
  std::string texts_of(const Fields& item, const char* name, std::string_view type) const {
    std::string out;
    const Json* list = item.maybe_list(name);
    for (std::size_t i = 0; list && i < list->size(); ++i) {
      const std::string path = cat(at_, ".", name, ".", i);
      const Fields part((*list)[i], path);
      if (part.text("type", std::string(type)) != type)
        throw wrong_field(path + ".type", shown(part.require("type")), std::string(type));
      out += part.text("text");
    }
    return out;
  }

  /// A text, or parts as chats have them; files and audio are refused by name.
  Json parts_of(const Fields& item, const char* name) const {
    const Json& content = item.require(name);
    if (content.is_string()) return content;
    if (!content.is_array()) item.wrong(name, content, "a text or a list of parts");
    for (std::size_t i = 0; i < content.size(); ++i) {
      if (!content[i].is_object()) continue;
      const std::string path = cat(at_, ".", name, ".", i);
      const Fields part(content[i], path);
      const auto type = part.maybe_text("type").value_or("");
      if (type == "input_file" || type == "input_audio")
        throw not_implemented(path + ".type",
                              cat(path, ".type: is ", type, "; the model reads texts and images alone"));
      if (type == "input_image" && part.find("file_id"))
        throw not_implemented(path + ".file_id",
                              path + ".file_id: files are not stored; send image_url with a data: URL");
    }
    return content;
  }

  RequestPlaces& places_;
  Json& messages_;
  std::string at_;  ///< path of the item that is read
};

}  // namespace lamina::serve
