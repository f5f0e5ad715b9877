#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include <lamina/hub/names.hpp>
#include <lamina/hub/repository.hpp>

/// The address of a repository's page, as a browser shows it, in place of its name.
namespace lamina::hub {

struct Page {
  Source source = Source::huggingface;
  RepoType type = RepoType::model;
  std::string name;      ///< "owner/name"
  std::string revision;  ///< "": the page names none
};

namespace detail {

/// True, and the beginning goes, if the text begins with it.
inline bool drop_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// The first parts of a path up to this number of slashes; the rest stays without the slash between.
inline std::string take_parts(std::string_view& path, int parts) {
  std::size_t end = 0;
  for (int i = 0; i < parts && end != path.npos; ++i) end = path.find('/', end + (i > 0));
  const std::string taken(path.substr(0, end));
  path.remove_prefix(std::min(path.size(), taken.size() + 1));
  return taken;
}

}  // namespace detail

/// https://huggingface.co/OWNER/NAME, .../datasets/OWNER/NAME, .../tree/REVISION,
/// https://modelscope.cn/models/OWNER/NAME. Nothing for other addresses, also for those of one file.
inline std::optional<Page> parse_page(std::string_view url) {
  Page page;
  std::string_view path = url.substr(0, url.find_first_of("?#"));
  if (!detail::drop_prefix(path, "https://")) detail::drop_prefix(path, "http://");
  detail::drop_prefix(path, "www.");
  if (detail::drop_prefix(path, "modelscope.cn/"))
    page.source = Source::modelscope;
  else if (!detail::drop_prefix(path, "huggingface.co/") && !detail::drop_prefix(path, "hf.co/"))
    return std::nullopt;
  if (detail::drop_prefix(path, "datasets/"))
    page.type = RepoType::dataset;
  else if (page.source == Source::modelscope && !detail::drop_prefix(path, "models/"))
    return std::nullopt;
  page.name = detail::take_parts(path, 2);
  if (path == "summary" || path == "files") path = {};  // tabs of ModelScope's pages
  if (detail::drop_prefix(path, "tree/")) page.revision = std::string(path), path = {};
  if (!path.empty() || !is_repository_name(page.name)) return std::nullopt;
  return page;
}

}  // namespace lamina::hub
