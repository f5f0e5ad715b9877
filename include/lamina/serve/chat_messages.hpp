#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/checkpoint/json.hpp>
#include <lamina/core/error.hpp>
#include <lamina/serve/json_fields.hpp>
#include <lamina/serve/media.hpp>
#include <lamina/text/chat_template.hpp>
#include <lamina/text/python_json.hpp>

namespace lamina::serve {

/// The turns of a request, and its pictures in the order of the image parts.
struct ChatMessages {
  std::vector<text::Message> messages;
  std::vector<ImageSource> images;
};

namespace detail {

/// Reads "messages" of a chat request.
class MessageReader {
 public:
  MessageReader(text::Family family, int max_images) : family_(family), max_images_(max_images) {}

  ChatMessages read(const Json& list) {
    if (list.empty()) throw bad_field("messages", "messages: is empty, wanted at least one message");
    if (list.size() > 4096) throw bad_field("messages", cat("messages: ", list.size(), " messages, at most 4096"));
    for (std::size_t i = 0; i < list.size(); ++i) read_message(list[i], cat("messages.", i));
    return std::move(out_);
  }

 private:
  void read_message(const Json& json, const std::string& path) {
    const Fields fields(json, path);
    text::Message message;
    message.role = fields.text("role").value_or("");
    static constexpr std::string_view roles[] = {"system", "developer", "user", "assistant", "tool"};
    if (std::find(std::begin(roles), std::end(roles), message.role) == std::end(roles))
      throw bad_field(path + ".role", cat(path, ".role: is ", message.role.empty() ? "missing" : clipped(message.role),
                                          ", wanted system, developer, user, assistant or tool"));
    if (message.role == "developer") message.role = "system";  // Qwen's templates know no developer
    const Json* calls = fields.list("tool_calls");
    if (calls && message.role == "assistant") read_tool_calls(*calls, path + ".tool_calls", message);
    const Json* content = fields.find("content");
    if (!content && message.role != "assistant")
      throw bad_field(path + ".content", path + ".content: is missing, wanted a string or a list of parts");
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

  void read_part(const Json& json, const std::string& path, text::Message& message) {
    const Fields fields(json, path);
    const std::string type = fields.text("type").value_or(fields.find("image_url")   ? "image_url"
                                                          : fields.find("video_url") ? "video_url"
                                                                                     : "missing");
    if (type == "text" || type == "input_text" || type == "output_text" || type == "refusal") {
      const auto text = fields.text(type == "refusal" ? "refusal" : "text");
      if (!text) throw bad_field(path + ".text", path + ".text: is missing, wanted a string");
      message.parts.push_back({text::Part::Kind::text, *text});
    } else if (type == "image_url") {
      read_image(fields, path, message);
    } else if (type == "video_url") {
      throw not_implemented(path, path + ": video is not supported by this server yet");
    } else {
      throw bad_field(path + ".type", cat(path, ".type: ", clipped(type),
                                          " is not supported by this model; wanted text or "
                                          "image_url"));
    }
  }

  void read_image(const Fields& fields, const std::string& path, text::Message& message) {
    const Json* image = fields.find("image_url");
    const std::string where = path + ".image_url";
    if (!image || !image->is_object())
      throw bad_field(where, where + ": wanted an object {\"url\": \"data:image/png;base64,...\"}");
    auto url = Fields(*image, where).text("url");
    if (!url) throw bad_field(where + ".url", where + ".url: is missing, wanted a string");
    // Qwen3-VL's template shows pictures of user and tool turns only; it leaves others out, and so does vLLM.
    if (family_ == text::Family::qwen3_vl && message.role != "user" && message.role != "tool") return;
    out_.images.push_back({std::move(*url), where + ".url"});
    message.parts.push_back({text::Part::Kind::image, {}});
    if (static_cast<int>(out_.images.size()) > max_images_)
      throw bad_field("messages", cat("At most ", max_images_, " image(s) may be provided in one prompt."));
  }

  static void read_tool_calls(const Json& calls, const std::string& path, text::Message& message) {
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const std::string where = cat(path, ".", i, ".function");
      const Fields call(calls[i], cat(path, ".", i));
      const Json* function = call.find("function");
      if (!function) throw bad_field(where, where + ": is missing, wanted an object");
      const Fields fields(*function, where);
      const auto name = fields.text("name");
      if (!name) throw bad_field(where + ".name", where + ".name: is missing, wanted a string");
      const Json* arguments = fields.find("arguments");
      Json value = Json::object();
      if (arguments && arguments->is_string()) {
        const auto text = arguments->get<std::string>();
        const std::string subject = where + ".arguments";
        if (!text.empty()) try {
            value = checkpoint::parse_json<Json>(text, client_json_limits(subject));
          } catch (const Json::exception& e) {
            throw bad_field(subject, subject + ": not valid JSON: " + clipped(e.what()));
          } catch (const Error& e) {
            throw bad_field(subject, e.what());
          }
      } else if (arguments) {
        value = *arguments;
      }
      if (!value.is_object()) throw bad_field(where + ".arguments", where + ".arguments: wanted JSON of an object");
      message.tool_calls.push_back({*name, text::python_json(value)});
    }
  }

  text::Family family_;
  int max_images_;
  ChatMessages out_;
};

}  // namespace detail

/// Checks and reads the "messages" list; pictures are not decoded yet.
inline ChatMessages read_messages(const Json& list, text::Family family, int max_images) {
  return detail::MessageReader(family, max_images).read(list);
}

}  // namespace lamina::serve
