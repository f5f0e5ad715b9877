#pragma once
#include <array>
#include <string_view>
#include <utility>

namespace lamina::grammar {

/// Regular expressions of JSON Schema's `format`. Each is as strict as its standard, or stricter: no answer has the
/// 29th of February, or a host name of more than 63 letters between points.
inline constexpr std::array<std::pair<std::string_view, std::string_view>, 11> formats{{
    {"date", R"(\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|)"
             R"(02-(?:0[1-9]|1\d|2[0-8])))"},
    {"time", R"((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d))"},
    {"date-time", R"(\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|)"
                  R"(02-(?:0[1-9]|1\d|2[0-8]))T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?)"
                  R"((?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d))"},
    {"duration", R"(P(?:\d{1,9}W|\d{1,9}Y(?:\d{1,9}M)?(?:\d{1,9}D)?|\d{1,9}M(?:\d{1,9}D)?|\d{1,9}D|)"
                 R"(T(?:\d{1,9}H(?:\d{1,9}M)?(?:\d{1,9}S)?|\d{1,9}M(?:\d{1,9}S)?|\d{1,9}S)))"},
    {"email", R"([A-Za-z0-9_+-]{1,32}(?:\.[A-Za-z0-9_+-]{1,31})?@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)"
              R"((?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?){1,3})"},
    {"hostname",
     R"([A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?){0,2})"},
    {"ipv4", R"((?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d))"},
    {"ipv6", R"((?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}:){1,6}:[0-9A-Fa-f]{1,4}|::(?:1)?)"},
    {"uuid", R"([0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})"},
    {"uri",
     R"([A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9][A-Za-z0-9.-]*(?::[1-9]\d{0,3})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@/-]*)?)"
     R"((?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?(?:#[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?)"},
    {"json-pointer", R"((?:/(?:[^/~]|~[01])*)*)"},
}};

/// The regular expression of a format; empty if it is not known.
constexpr std::string_view format_regex(std::string_view name) {
  for (const auto& [format, regex] : formats)
    if (format == name) return regex;
  return {};
}

}  // namespace lamina::grammar
