#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include <lamina/hub/repository.hpp>
#include <lamina/io/json.hpp>

namespace lamina::hub {

/// JSON that a hub answered. Error that names the URL if it is none.
inline nlohmann::json parse_answer(const std::string& url, const std::string& text) {
  try {
    return io::parse_json<nlohmann::json>(text, {.subject = url, .depth = 32});
  } catch (const nlohmann::json::exception&) {
    fail(url, ": the answer is not JSON: is this the address of a hub, and is no login page in between?");
  }
}

/// Reads the members of an object that a hub answered, which it borrows; errors name the URL.
class ListingFields {
 public:
  ListingFields(const std::string& url, const nlohmann::json& object) : url_(url), object_(object) {
    if (!object_.is_object()) fail(url_, ": an object is wanted, got ", object_.type_name());
  }

  std::string text(const char* key) const {
    const auto at = object_.find(key);
    if (at == object_.end() || !at->is_string()) wrong(key, "a string");
    return at->get<std::string>();
  }
  /// Bytes of a file: at most 16 TiB.
  std::uint64_t size(const char* key) const {
    const auto at = object_.find(key);
    if (at == object_.end() || !at->is_number_unsigned() || at->get<std::uint64_t>() > (std::uint64_t{1} << 44))
      wrong(key, "a number of bytes up to 2^44");
    return at->get<std::uint64_t>();
  }
  [[noreturn]] void wrong(const char* key, const char* wanted) const {
    const auto at = object_.find(key);
    fail(url_, ": \"", key, "\" is ", at == object_.end() ? "missing" : at->dump().substr(0, 100), ", wanted ", wanted);
  }

 private:
  const std::string& url_;
  const nlohmann::json& object_;
};

/// Adds a file whose path is safe; Error beyond 200,000 files.
inline void add_file(Listing& listing, const std::string& url, RemoteFile file) {
  require_safe_path(url, file.path);
  // Ours, or a client's, while files are fetched: two files must never meet under one name.
  if (file.path.ends_with(".incomplete") || file.path.starts_with(".cache/huggingface/"))
    fail(url, ": names a file \"", file.path, "\", a name that downloads need for themselves: refused");
  if (listing.files.size() == 200'000) fail(url, ": a listing of more than 200,000 files: refused");
  listing.files.push_back(std::move(file));
}

}  // namespace lamina::hub
