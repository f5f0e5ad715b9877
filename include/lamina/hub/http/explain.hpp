#pragma once
#include <string>
#include <string_view>

#include <lamina/hub/http/client.hpp>
#include <lamina/hub/repository.hpp>
#include <lamina/hub/settings.hpp>

/// What to do about an answer that is none.
namespace lamina::hub {

inline std::string_view endpoint_variable(Source source) {
  return source == Source::huggingface ? "HF_ENDPOINT" : "MODELSCOPE_ENDPOINT";
}

namespace detail {

/// How a token is given to this program.
inline std::string token_settings(const HubSettings& settings) {
  const bool hf = settings.source == Source::huggingface;
  const std::string_view usual = hf ? "HF_TOKEN or `hf auth login`" : "MODELSCOPE_API_TOKEN";
  return settings.token_option.empty() ? std::string(usual) : cat(settings.token_option, hf ? ", " : " or ", usual);
}
/// What to do about a repository or a file that is not open to the one who asked.
inline std::string token_advice(const HubSettings& settings) {
  return settings.token.empty() ? cat("give the token of an account that may read it (", token_settings(settings), ")")
                                : cat("the token of ", settings.token_name, " does not open it");
}
inline std::string page_of(const HubSettings& settings, const Repository& repo) {
  const bool modelscope_model = settings.source == Source::modelscope && repo.type == RepoType::model;
  return cat(settings.endpoint,
             repo.type == RepoType::dataset ? "/datasets/"
             : modelscope_model             ? "/models/"
                                            : "/",
             repo.name);
}
/// What helps without this hub.
inline std::string elsewhere(const HubSettings& settings) {
  return cat("fetch it with lamina-download --local-dir on a machine that reaches ", settings.endpoint,
             " and name the folder");
}

/// What helps against that which failed in each attempt. network: what to do if no server answered.
inline std::string advice(const Temporary& error, const HubSettings& settings, const std::string& network) {
  if (error.status == 0) return network;
  const std::string again = "and run the same command again: it continues with what has come";
  if (error.status != 429)
    return cat("the server has a fault of its own: wait ", again, ", or name a mirror with ",
               endpoint_variable(settings.source));
  return cat("the hub limits requests: wait ", error.wait_s > 0 ? long_time(error.wait_s) : "some minutes", " ", again,
             settings.token.empty() ? cat("; a token raises the limit (", token_settings(settings), ")") : "");
}

/// Explains answers that do not depend on what was asked for. The hub names a repository that is not open with a code.
inline void explain_access(const HttpError& error, const HubSettings& settings) {
  if (error.status == 403 && error.is_page)
    fail("a proxy or a firewall answers in place of ", settings.endpoint, ": ask its owner to allow the hub, or ",
         elsewhere(settings), " (", error.what(), ")");
  if (error.status == 401 && !settings.token.empty() && error.code.empty())
    fail(settings.endpoint, " does not accept the token of ", settings.token_name,
         ": it is invalid or has expired: renew it, or unset it for what is public (", error.what(), ")");
  if (error.status == 451)
    fail(settings.endpoint, " may not give this out where you are, for legal reasons: another hub may have it (",
         error.what(), ")");
}

/// A status that the hub answered to a request for what a repository holds. has_other_type: the hub has a repository of
/// the other type with this name.
[[noreturn]] inline void explain(const HttpError& error, const HubSettings& settings, const Repository& repo,
                                 bool has_other_type) {
  const std::string answer = cat(" (", error.what(), ")");
  if (error.code == "RevisionNotFound")
    fail(name_of(repo.type), " ", repo.name, " has no branch, tag or commit ", repo.revision, answer);
  if (error.code == "GatedRepo")
    fail(name_of(repo.type), " ", repo.name, " is gated: ask for access on ", page_of(settings, repo), "; ",
         token_advice(settings), answer);
  explain_access(error, settings);
  if (error.status != 401 && error.status != 403 && error.status != 404) throw error;
  const std::string absent = cat("there is no ", name_of(repo.type), " ", repo.name, " on ", settings.endpoint);
  if (has_other_type) {
    const std::string_view other = name_of(other_type(repo.type));
    fail(absent, ", but a ", other, " of this name: lamina-download takes it with --repo-type ", other, answer);
  }
  const bool is_usual = repo.revision == "main" || repo.revision == "master";
  fail(absent, is_usual ? "" : cat(" with the revision ", repo.revision), ", or it is private: check the name; ",
       token_advice(settings), answer);
}

/// A status that was answered to a request for a file that the repository lists: anybody may list the files of a gated
/// model.
[[noreturn]] inline void explain_file(const HttpError& error, const HubSettings& settings, const Repository& repo,
                                      const std::string& path) {
  const std::string subject = cat(repo.name, ": its file ", path), answer = cat(" (", error.what(), ")");
  if (!error.is_of_hub)
    fail(subject, " cannot be fetched from the hub's storage: run again, or ask your proxy's owner", answer);
  if (error.code == "EntryNotFound")
    fail(subject, " is listed and is not there: the repository has changed; run again", answer);
  explain_access(error, settings);
  if (error.status == 401 || error.status == 403 || error.status == 404)
    fail(subject, " is not open to ", settings.token.empty() ? "everybody" : "the account of this token",
         ": ask for access on ", page_of(settings, repo), "; ", token_advice(settings), answer);
  throw error;
}

}  // namespace detail
}  // namespace lamina::hub
