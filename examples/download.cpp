// lamina-download: fetches a model, an adapter or a data set from Hugging Face or ModelScope.
//
//     lamina-download Qwen/Qwen3-VL-2B-Instruct --local-dir qwen3_vl_model
//     lamina-download Qwen/Qwen3-VL-2B-Instruct --source modelscope          into ModelScope's cache
#include <csignal>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <lamina/hub/http/curl.hpp>
#include <lamina/hub/keys.hpp>
#include <lamina/hub/listing/page.hpp>
#include <lamina/hub/settings.hpp>
#include <lamina/hub/snapshot.hpp>
#include <lamina/io/flags.hpp>
#include <lamina/io/program/program.hpp>

namespace {
using namespace lamina;

struct Request {
  std::string repo, source, repo_type = "model", token;
  hub::Options hub{.revision_name = "--revision",
                   .cache_dir_name = "--cache-dir",
                   .hf_token_name = "--token",
                   .ms_token_name = "--token"};
  hub::Selection selection;
  std::filesystem::path local_dir;
  int max_workers = 8;
};

constexpr std::string_view sources[] = {"huggingface", "hf", "modelscope", "ms"}, types[] = {"model", "dataset"};
constexpr io::Key<Request> flags[] = {
    io::honoured<&Request::repo>("repo", "OWNER/NAME, or the address of its page; also the first word without a name"),
    io::honoured<&Request::local_dir>("local-dir", "folder to write to; unset: the hub's cache"),
    hub::revision_row<&Request::hub>("revision", "branch, tag or commit"),
    io::honoured<&Request::selection, &hub::Selection::include>(
        "include",
        "patterns of files, such as '*.json'; also further words without a name; unset: those that a model needs, of a "
        "data set all"),
    io::honoured<&Request::selection, &hub::Selection::exclude>("exclude", "patterns of files to leave out"),
    io::honoured_word<sources, &Request::source>(
        "source", "huggingface (hf) or modelscope (ms); unset: huggingface, or modelscope if USE_MODELSCOPE_HUB=1"),
    io::honoured_word<types, &Request::repo_type>("repo-type", "model or dataset"),
    io::honoured<&Request::hub, &hub::Options::cache_dir>(
        "cache-dir", "the cache; unset: HF_HUB_CACHE, HF_HOME/hub or MODELSCOPE_CACHE, else that of the hub's client"),
    io::honoured<&Request::token>("token", "unset: HF_TOKEN or `hf auth login`; MODELSCOPE_API_TOKEN"),
    io::honoured<&Request::max_workers>("max-workers", "files at a time").within(1, 64),
    {"resume-download", io::KeyType::flag, io::KeyStatus::accepted, "", "a download always continues"},
    {"local-dir-use-symlinks", io::KeyType::text, io::KeyStatus::accepted, "auto|False|false",
     "--local-dir holds files, never links"},
    {"force-download", io::KeyType::flag, io::KeyStatus::refused, "false",
     "files in place have the right hash; to fetch one again delete it"},
    {"dry-run", io::KeyType::flag, io::KeyStatus::refused, "false",
     "it is not built; before the first byte the log says how many files and bytes come"},
    {"quiet", io::KeyType::flag, io::KeyStatus::refused, "false",
     "stdout holds the folder alone; 2>/dev/null hides the rest"},
    {"dataset", io::KeyType::text, io::KeyStatus::refused, "", "write OWNER/NAME --repo-type dataset"},
};

/// Takes the address of a page apart. given: what the command line says itself.
void read_page(Request& request, const io::Settings& given) {
  const auto page = hub::parse_page(request.repo);
  if (!page) return;
  const std::string_view source = page->source == hub::Source::huggingface ? "huggingface" : "modelscope";
  const std::string_view type = hub::name_of(page->type);
  const auto set = [&](std::string_view flag, std::string& value, std::string_view here) {
    if (here.empty()) return;
    if (given.contains(flag) && value != here)
      throw io::UsageError(cat("--", flag, " ", value, ": ", request.repo, " says ", here));
    value = here;
  };
  set("source", request.source, source);
  set("repo-type", request.repo_type, type);
  set("revision", request.hub.revision, page->revision);
  request.repo = page->name;
}

void require_name(const std::string& repo) {
  if (repo.empty()) throw io::UsageError("name a repository first, OWNER/NAME");
  if (hub::is_repository_name(repo)) return;
  std::string more;
  if (const auto at = repo.find('@'); at != repo.npos && hub::is_repository_name(repo.substr(0, at)))
    more = cat("; for a revision ", repo.substr(0, at), " --revision ", repo.substr(at + 1));
  if (repo.find("://") != repo.npos)
    more =
        ", or https://huggingface.co/OWNER/NAME; for one file write its path after the name, and for another server "
        "set HF_ENDPOINT";
  throw io::UsageError(cat(repo, ": wanted a repository's name, OWNER/NAME", more));
}

Request parse(std::vector<std::string> words) {
  std::vector<std::string> notes;
  if (!words.empty() && words.front() == "download") words.erase(words.begin());  // as in `hf download OWNER/NAME`
  const io::FlagRules rules{
      .positional = "repo", .rest = "include", .aliases = {{"model", "repo"}, {"repo-id", "repo"}}, .lists_grow = true};
  const std::span<const io::Key<Request>> table = flags;
  const io::Settings given = io::read_flags(table, words, rules, notes);
  io::check_keys(table, given, notes);
  for (const std::string& text : notes) note(text);
  Request request;
  io::fill(table, given, request);
  if (request.repo.ends_with('/')) request.repo.pop_back();
  if (request.source == "hf") request.source = "huggingface";
  if (request.source == "ms") request.source = "modelscope";
  read_page(request, given);
  require_name(request.repo);
  return request;
}

/// Hugging Face's cache has a form of its own, into which no other folder belongs; a --local-dir does not need it.
/// UsageError if the folder is in there.
void settle_folders(const Request& request, const hub::HubSettings& settings) {
  if (request.local_dir.empty() || settings.source != hub::Source::huggingface) return;
  const auto inside = std::filesystem::weakly_canonical(request.local_dir)
                          .lexically_relative(std::filesystem::weakly_canonical(settings.cache));
  if (!inside.empty() && *inside.begin() != "..")
    io::usage("--local-dir ", request.local_dir.string(), ": is inside the cache, ", settings.cache.string(),
              ": choose another folder, or leave --local-dir out");
  if (!request.hub.cache_dir.empty()) note("--cache-dir has no effect: files go to --local-dir");
}

int run(Request& request) {
  if (!request.source.empty())
    request.hub.source = request.source == "huggingface" ? hub::Source::huggingface : hub::Source::modelscope;
  request.hub.hf_token = request.hub.ms_token = request.token;
  const hub::HubSettings settings = hub::read_settings(request.hub);
  settle_folders(request, settings);
  hub::CurlTransport transport({.certificates = settings.certificates});
  const auto type = request.repo_type == "model" ? hub::RepoType::model : hub::RepoType::dataset;
  const auto folder = hub::fetch_snapshot(transport, settings,
                                          {.repo = {settings.source, type, request.repo, settings.revision},
                                           .selection = request.selection,
                                           .local_dir = request.local_dir,
                                           .workers = request.max_workers});
  std::cout << folder.string() << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error with a message
  return io::run_program(
      {"lamina-download", "OWNER/NAME [FILE]... [--local-dir DIR] [--option VALUE]...",
       "Fetches the files of a model, an adapter or a data set from Hugging Face or ModelScope, and "
       "prints their folder.\nWhat is there already is not fetched again, and a download that was "
       "interrupted continues.\n\n" +
           io::help_lines<Request>(flags, "--") +
           "\nHF_ENDPOINT and MODELSCOPE_ENDPOINT name another server, HF_HUB_OFFLINE=1 makes no "
           "request, https_proxy and no_proxy are\nhonoured. Certificates to trust in place of the "
           "system's: the first that is set of REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE,\nSSL_CERT_FILE and "
           "SSL_CERT_DIR.\n"},
      argc, argv, parse, run);
}
