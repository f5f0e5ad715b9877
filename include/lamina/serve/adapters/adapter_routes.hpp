#pragma once
#include <memory>
#include <string>
#include <utility>

#include <lamina/serve/jobs/service.hpp>
#include <lamina/serve/openai.hpp>

/// Adapters that come and go while the server runs.
namespace lamina::serve {

namespace detail {
/// Runs `work` on a request's fields; what it returns is the answer's text.
template <class F>
void answer_with_text(ChatService& service, std::shared_ptr<Exchange> exchange, HttpRequest request, F work) {
  const auto shared = std::make_shared<HttpRequest>(std::move(request));
  service.post_slowly(exchange, *shared, [exchange, shared, work](const std::stop_token& cancelled) {
    const JsonTree json = parse_body(shared->body.text(), cancelled);
    exchange->reply({200, work(Fields(*json)), "text/plain; charset=utf-8", {}});
  });
}
}  // namespace detail

/// POST /v1/load_lora_adapter.
inline void answer_load_adapter(ChatService& service, std::shared_ptr<Exchange> exchange, HttpRequest request) {
  detail::answer_with_text(service, std::move(exchange), std::move(request), [&service](const Fields& fields) {
    const std::string name = fields.text("lora_name", ""), path = fields.text("lora_path", "");
    if (name.empty() || path.empty())
      throw ApiError(400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided.");
    service.adapters().load({name, path}, fields.boolean("load_inplace"));
    return "Success: LoRA adapter '" + name + "' added successfully.";
  });
}
/// POST /v1/unload_lora_adapter.
inline void answer_unload_adapter(ChatService& service, std::shared_ptr<Exchange> exchange, HttpRequest request) {
  detail::answer_with_text(service, std::move(exchange), std::move(request), [&service](const Fields& fields) {
    const std::string name = fields.text("lora_name", "");
    if (name.empty())
      throw ApiError(400, "InvalidUserInput", "'lora_name' needs to be provided to unload a LoRA adapter.");
    service.adapters().unload(name);
    return "Success: LoRA adapter '" + name + "' removed successfully.";
  });
}

}  // namespace lamina::serve
