#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/io/json.hpp>
#include <lamina/serve/openai/request/json_fields.hpp>
#include <lamina/serve/openai/request/media.hpp>
#include <lamina/text/prompt_template.hpp>
#include <lamina/text/python_json.hpp>

namespace lamina::serve {

/// The turns of a request, and its images and videos, each in the order of their parts.
struct ChatMessages {
  std::vector<text::Message> messages;
  std::vector<MediaSource> images, videos = {};
};

/// How many a request may have.
struct MediaCounts {
  int images = 999, videos = 999;
};

namespace detail {

/// Reads "messages" of a chat request.
class MessageReader {
 public:
  MessageReader(MediaCounts most, bool knows_developer) : most_(most), knows_developer_(knows_developer) {}

  ChatMessages read(const Json& list) {
    if (list.empty()) throw wrong_field("messages", "empty", "at least one message");
    if (list.size() > 4096) throw wrong_field("messages", cat("a list of ", list.size()), "at most 4096 messages");
    for (std::size_t i = 0; i < list.size(); ++i) read_message(list[i], cat("messages.", i));
    if (had_developer_) join_system_turns();
    return std::move(out_);
  }

 private:
  void read_message(const Json& json, const std::string& path) {
    const Fields fields(json, path);
    text::Message message;
    message.role = fields.maybe_text("role").value_or("");
    if (message.role.empty())
      throw wrong_field(path + ".role", fields.find("role") ? "empty" : "missing",
                        "system, developer, user, assistant, tool, or another that the chat template knows");
    if (message.role.size() > 64) throw wrong_field(path + ".role", shown(message.role), "at most 64 bytes");
    if (message.role == "developer" && !knows_developer_) message.role = "system", had_developer_ = true;
    message.name = fields.maybe_text("name");
    if (message.role == "tool") message.tool_call_id = fields.maybe_text("tool_call_id");
    if (message.role == "assistant") {
      message.reasoning = fields.maybe_text("reasoning_content");
      if (!message.reasoning) message.reasoning = fields.maybe_text("reasoning");
    }
    const Json* calls = fields.maybe_list("tool_calls");
    if (calls && message.role == "assistant") read_tool_calls(*calls, path + ".tool_calls", message);
    const Json* content = fields.find("content");
    if (!content && message.role != "assistant")
      throw wrong_field(path + ".content", "missing", "a string or a list of parts");
    if (content && content->is_string()) {
      message.parts.push_back({text::Part::Kind::text, content->get<std::string>()});
    } else if (content && content->is_array()) {
      message.plain = false;
      for (std::size_t i = 0; i < content->size(); ++i) read_part((*content)[i], cat(path, ".content.", i), message);
    } else if (content) {
      fields.wrong("content", *content, "a string or a list of parts");
    }
    out_.messages.push_back(std::move(message));
  }

  /// A string, or an object with a type; without one it is an image if it has an image_url, as in vLLM.
  void read_part(const Json& json, const std::string& path, text::Message& message) {
    if (json.is_string()) {
      message.parts.push_back({text::Part::Kind::text, json.get<std::string>()});
      return;
    }
    if (!json.is_object()) throw wrong_field(path, shown(json), "a string or an object");
    const Fields fields(json, path);
    const auto type = fields.maybe_text("type");
    if (const char* field = text_field(type.value_or(""))) {
      const auto text = fields.maybe_text(field);
      if (!text) throw wrong_field(cat(path, ".", field), "missing", "a string");
      message.parts.push_back({text::Part::Kind::text, *text});
    } else if (type ? type == "image_url" || type == "input_image" : json.contains("image_url")) {
      read_image(fields, type, path, message);
    } else if (type ? type == "video_url" : json.contains("video_url")) {
      read_video(fields, type, path, message);
    } else {
      throw wrong_field(path + ".type", type ? shown(*type) : "missing", "text, image_url or video_url");
    }
  }
  /// The field that holds the text of a part of this type; null for types of other parts.
  static const char* text_field(std::string_view type) {
    if (type == "text" || type == "input_text" || type == "output_text") return "text";
    return type == "refusal" ? "refusal" : type == "thinking" ? "thinking" : nullptr;
  }

  /// The URL of an image is a string in a part of type input_image, in one without a type, and in one with a uuid;
  /// otherwise it is in an object, as for vLLM.
  void read_image(const Fields& fields, const std::optional<std::string>& type, const std::string& path,
                  text::Message& message) {
    const bool may_be_text = type != "image_url" || fields.find("uuid");
    auto source = read_source(fields, "image_url", may_be_text, path, "{\"url\": \"data:image/png;base64,...\"}");
    out_.images.push_back(std::move(source));
    message.parts.push_back({text::Part::Kind::image, {}});
    check_count(out_.images.size(), most_.images, "image");
  }
  void read_video(const Fields& fields, const std::optional<std::string>& type, const std::string& path,
                  text::Message& message) {
    auto source = read_source(fields, "video_url", !type, path, "{\"url\": \"data:video/mp4;base64,...\"}");
    if (source.url.starts_with("data:video/jpeg"))
      throw not_implemented(source.param, source.param +
                                              ": frames in data:video/jpeg are not read; send a video file, or the "
                                              "frames as images");
    out_.videos.push_back(std::move(source));
    message.parts.push_back({text::Part::Kind::video, {}});
    check_count(out_.videos.size(), most_.videos, "video");
  }
  static void check_count(std::size_t count, int most, std::string_view what) {
    if (count > static_cast<std::size_t>(std::max(most, 0)))
      throw bad_field("messages", cat("At most ", most, " ", what, "(s) may be provided in one prompt."));
  }
  static MediaSource read_source(const Fields& fields, const char* field, bool may_be_text, const std::string& path,
                                 const char* wanted_object) {
    std::string where = cat(path, ".", field);
    const Json* url = fields.find(field);
    const std::string wanted = cat("an object ", wanted_object);
    if (url && !url->is_object() && !(may_be_text && url->is_string())) throw wrong_field(where, shown(*url), wanted);
    if (url && url->is_object()) {
      where += ".url";
      const Json* inner = Fields(*url, where).find("url");
      if (inner && !inner->is_string()) throw wrong_field(where, shown(*inner), "a string");
      url = inner;
    }
    std::string uuid = read_uuid(fields);
    if (!url && uuid.empty()) throw wrong_field(where, "missing", wanted);
    if (!url) where = path + ".uuid";
    return {url ? url->get<std::string>() : "", where, std::move(uuid)};
  }

  static std::string read_uuid(const Fields& fields) {
    const auto uuid = fields.maybe_text("uuid");
    if (uuid && (uuid->empty() || uuid->size() > 256))
      fields.wrong("uuid", *fields.find("uuid"), "a string of 1 to 256 bytes");
    return uuid.value_or("");
  }

  /// Arguments are JSON text in the OpenAI API, an object for the template, which writes them out: either is taken.
  static void read_tool_calls(const Json& calls, const std::string& path, text::Message& message) {
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const std::string at = cat(path, ".", i), where = at + ".function";
      const Fields call(calls[i], at);
      if (const auto type = call.maybe_text("type"); type && type != "function")
        throw wrong_field(at + ".type", shown(*type), "function");
      const Json* function = call.find("function");
      if (!function) throw wrong_field(where, "missing", "an object");
      const Fields fields(*function, where);
      const auto name = fields.maybe_text("name");
      if (!name) throw wrong_field(where + ".name", "missing", "a string");
      message.tool_calls.push_back(
          {*name, read_arguments(fields.find("arguments"), where + ".arguments"), call.maybe_text("id").value_or("")});
    }
  }
  static std::string read_arguments(const Json* arguments, const std::string& where) {
    if (!arguments) return text::python_json(Json::object());
    const auto checked = [&](const Json& value) {
      if (!value.is_object())
        throw wrong_field(where, shown(*arguments), "an object, or a string with the JSON of one");
      return text::python_json(value);
    };
    if (!arguments->is_string()) return checked(*arguments);
    const auto& text = arguments->get_ref<const std::string&>();
    if (text.empty()) return checked(Json::object());
    JsonTree value;
    try {
      *value = io::parse_json<Json>(text, client_json_limits(where));
    } catch (const io::JsonError&) {
      *value = Json(Json::value_t::discarded);
    } catch (const Error& e) {
      throw bad_field(where, e.what());
    }
    return checked(*value);
  }

  /// System turns become one, the first, since templates take no others: as vLLM does if it renames developers. Images
  /// keep their order, so that turns with them stay where they are.
  void join_system_turns() {
    const auto moves = [](const text::Message& m) {
      return m.role == "system" && std::none_of(m.parts.begin(), m.parts.end(), [](const text::Part& part) {
               return part.kind != text::Part::Kind::text;
             });
    };
    text::Message system{.role = "system", .parts = {}};
    for (text::Message& message : out_.messages) {
      if (!moves(message)) continue;
      if (!system.parts.empty()) system.parts.push_back({text::Part::Kind::text, "\n\n"});
      system.plain = system.plain && message.plain;
      for (const text::Part& part : message.parts) system.parts.push_back(part);
    }
    if (system.parts.empty()) return;
    std::erase_if(out_.messages, moves);
    out_.messages.insert(out_.messages.begin(), std::move(system));
  }

  MediaCounts most_;
  bool knows_developer_, had_developer_ = false;
  ChatMessages out_;
};

}  // namespace detail

/// Checks and reads the "messages" list; images and videos are not decoded yet. knows_developer: the chat template has
/// turns of developers; otherwise they are system turns
inline ChatMessages read_messages(const Json& list, MediaCounts most, bool knows_developer = false) {
  return detail::MessageReader(most, knows_developer).read(list);
}

}  // namespace lamina::serve
