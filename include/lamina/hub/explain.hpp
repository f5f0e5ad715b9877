#pragma once
#include <string>
#include <string_view>

#include <lamina/hub/client.hpp>
#include <lamina/hub/repository.hpp>
#include <lamina/hub/settings.hpp>

/// What to do about an answer that is none.
namespace lamina::hub {

inline std::string_view endpoint_variable(Source source) {
  return source == Source::huggingface ? "HF_ENDPOINT" : "MODELSCOPE_ENDPOINT";
}

namespace detail {

/// How a token is given.
inline std::string_view token_settings(const Settings& settings) {
  return settings.source == Source::huggingface ? "hf_hub_token, HF_TOKEN or `hf auth login`"
                                                : "ms_hub_token or MODELSCOPE_API_TOKEN";
}
inline std::string page_of(const Settings& settings, const Repository& repo) {
  const bool modelscope_model = settings.source == Source::modelscope && repo.type == RepoType::model;
  return cat(settings.endpoint,
             repo.type == RepoType::dataset ? "/datasets/"
             : modelscope_model             ? "/models/"
                                            : "/",
             repo.name);
}
/// What helps without this hub.
inline std::string elsewhere(const Settings& settings) {
  return cat("fetch it with lamina-download --local-dir on a machine that reaches ", settings.endpoint,
             " and name the folder");
}

/// What helps against that which failed in each attempt. network: what to do if no server answered.
inline std::string advice(const Temporary& error, const Settings& settings, const std::string& network) {
  if (error.status == 0) return network;
  const std::string again = "and run the same command again: it continues with what has come";
  if (error.status != 429)
    return cat("the server has a fault of its own: wait ", again, ", or name a mirror with ",
               endpoint_variable(settings.source));
  return cat("the hub limits requests: wait ", error.wait_s > 0 ? long_time(error.wait_s) : "some minutes", " ", again,
             settings.token.empty() ? cat("; a token raises the limit (", token_settings(settings), ")") : "");
}

/// A status that the hub answered to a request for what a repository holds.
[[noreturn]] inline void explain(const HttpError& error, const Settings& settings, const Repository& repo) {
  const std::string_view token = token_settings(settings);
  if (error.code == "RevisionNotFound")
    fail(error.what(), ": ", repo.name, " has no branch, tag or commit ", repo.revision);
  if (error.code == "GatedRepo")
    fail(error.what(), ": ask for access on ", page_of(settings, repo), ", and give the token of that account (", token,
         ")");
  if (error.status == 401 || error.status == 403 || error.status == 404)
    fail(error.what(), ": there is no ", name_of(repo.type), " ", repo.name, " at revision ", repo.revision, " on ",
         settings.endpoint, settings.token.empty() ? ", or it wants a token (" : ", or the token does not open it (",
         token, ")");
  throw error;
}

/// A status that was answered to a request for a file that the repository lists: anybody may list the files of a gated
/// model.
[[noreturn]] inline void explain_file(const HttpError& error, const Settings& settings, const Repository& repo,
                                      const std::string& path) {
  const std::string subject = cat(error.what(), ": ", repo.name, ": its file ", path);
  if (!error.is_of_hub) fail(subject, " is not to be had from the hub's storage: run again, or ask your proxy's owner");
  if (error.code == "EntryNotFound")
    fail(subject, " is listed and is not there: the repository has changed; run again");
  if (error.status == 401 || error.status == 403 || error.status == 404)
    fail(subject, " is not open to ", settings.token.empty() ? "everybody" : "the account of this token",
         ": ask for access on ", page_of(settings, repo), ", and give the token of an account that has it (",
         token_settings(settings), ")");
  throw error;
}

}  // namespace detail
}  // namespace lamina::hub
