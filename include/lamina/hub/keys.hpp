#pragma once
#include <lamina/hub/names.hpp>
#include <lamina/hub/options.hpp>
#include <lamina/io/keys/key_table.hpp>

/// The rows that tables of keys and flags share. Member: that holds the Options.
namespace lamina::hub {

template <auto Member>
constexpr auto revision_row(std::string_view name, std::string_view note) {
  using Path = io::detail::MemberPath<Member, &Options::revision>;
  return io::honoured<Member, &Options::revision>(name, note)
      .read_by([](typename Path::Root& target, const io::Setting& s, std::string_view key) {
        io::read_value(s, key, Path::of(target));
        const std::string& revision = Path::of(target);
        const bool unset = revision.empty() && !s.origin.empty();  // in a file; a flag without a value is a mistake
        if (!unset && !is_revision(revision)) io::wrong_value(s, key, std::string(wanted_revision));
      });
}

/// LLaMA-Factory's keys.
template <auto Member>
inline constexpr auto revision_key = revision_row<Member>("model_revision",
                                                          "branch, tag or commit of a model from a hub");
template <auto Member>
inline constexpr auto cache_key = io::honoured<Member, &Options::cache_dir>(
    "cache_dir", "where models from a hub are kept; unset: HF_HUB_CACHE, MODELSCOPE_CACHE, or the hub's usual folder");
template <auto Member>
inline constexpr auto hf_token_key =
    io::honoured<Member, &Options::hf_token>("hf_hub_token", "for Hugging Face; unset: HF_TOKEN, or `hf auth login`");
template <auto Member>
inline constexpr auto ms_token_key =
    io::honoured<Member, &Options::ms_token>("ms_hub_token", "for ModelScope; unset: MODELSCOPE_API_TOKEN");

/// vLLM's flags.
template <auto Member>
inline constexpr auto revision_flag = revision_row<Member>("revision", "branch, tag or commit of a model from a hub");
template <auto Member>
inline constexpr auto cache_flag = io::honoured<Member, &Options::cache_dir>(
    "download-dir", "where models from a hub are kept; unset: HF_HUB_CACHE, MODELSCOPE_CACHE, or the usual folder");

}  // namespace lamina::hub
