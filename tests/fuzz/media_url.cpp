#include "fuzz.hpp"

#include <cstdlib>

#include <lamina/serve/remote/media_url.hpp>

using namespace lamina;

namespace {

/// A URL that is taken is taken once more as the same, and holds nothing that two readers could understand in two ways.
void check(const std::string& text, const std::string& base) {
  const serve::MediaUrl url = serve::parse_media_url(text, base);
  const serve::MediaUrl again = serve::parse_media_url(url.text);
  const bool plain = url.text.find_first_of("\\@ \r\n\t") == url.text.npos ||
                     url.text.find_first_of("\\@ \r\n\t") > url.text.find('/', 8);
  if (again.text != url.text || again.host != url.host || url.host.empty() || !plain) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::text(data, size));
  fuzz::run([&] { check(text, ""); });
  return fuzz::run([&] { check(text, "https://images.test/a/b?c"); });
}
