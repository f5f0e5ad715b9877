#include "fuzz.hpp"

#include <lamina/data/read/hub_dataset.hpp>
#include <lamina/hub/huggingface.hpp>
#include <lamina/hub/modelscope.hpp>

using namespace lamina;

namespace {

/// A hub that answers everything with the same bytes.
class Answer final : public hub::Transport {
 public:
  explicit Answer(std::string_view body) : body_(body) {}
  hub::HttpHead get(const hub::GetRequest&, const hub::HttpReceiver& to) override {
    hub::HttpHead head;
    head.status = 200;
    if (to.head) to.head(head);
    if (to.body) to.body(std::as_bytes(std::span(body_)));
    return head;
  }

 private:
  std::string_view body_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text(data, size);
  Answer answer(text);
  const hub::Client client(answer, "https://hub.test", {}, {.attempts = 1});
  const hub::Repository model{hub::Source::huggingface, hub::RepoType::model, "a/b", "main"};
  fuzz::run([&] { hub::huggingface::list(client, "https://hub.test", model); });
  fuzz::run([&] {
    hub::Repository at = model;
    at.revision = std::string(40, 'a');
    auto listing = hub::huggingface::list(client, "https://hub.test", at);
    hub::require_distinct("a/b", listing);
  });
  fuzz::run([&] { hub::modelscope::list(client, "https://hub.test", model); });
  fuzz::run([&] { hub::origin_of(hub::huggingface::next_page(text)); });
  return fuzz::run([&] {
    data::choose_files({.name = "a/b"}, {"data/train.json", "b.jsonl"}, std::string(text), "train");
  });
}
