#pragma once
#include <openssl/ssl.h>
// before Boost's, which would choose versions otherwise
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <lamina/hub/disk/digest.hpp>
#include <lamina/hub/repository.hpp>

#include "support/made/certificate.hpp"

/// Both hubs on the loopback interface, with the routes that their clients use, and with faults.
namespace lamina::testing {

namespace asio = boost::asio;
namespace http = boost::beast::http;

struct HubFile {
  std::string content;
  bool lfs = false;  ///< Hugging Face: named by its SHA-256, and answered by a redirect to another server
};
using HubFiles = std::map<std::string, HubFile>;

inline std::string git_id(const std::string& content) {
  hub::Digest digest(hub::Hash::Kind::git, content.size());
  digest.update(std::as_bytes(std::span(content)));
  return digest.finish().hex;
}

/// What goes wrong with one answer that holds a file.
enum class Fault {
  cut,          ///< the connection ends inside the body
  shorter,      ///< Content-Length and body are shorter than the file
  longer,       ///< and longer
  busy,         ///< 429 with Retry-After
  failing,      ///< 503
  other_etag,   ///< X-Linked-Etag of another file
  other_bytes,  ///< a body of the right length and of another content
  no_range,     ///< 200 and all of the file to a request for a part
  other_range,  ///< 206 with a part that was not asked for
  no_such_range,
  closed,  ///< no answer at all
};

struct Seen {
  std::string method, target, authorization, cookie, range, host;
};

class HubServer {
 public:
  explicit HubServer(std::optional<Certificate> tls = {}) : acceptor_(io_, {asio::ip::make_address("127.0.0.1"), 0}) {
    if (tls) {
      context_.emplace(asio::ssl::context::tls_server);
      context_->use_certificate(asio::buffer(tls->certificate), asio::ssl::context::pem);
      context_->use_private_key(asio::buffer(tls->key), asio::ssl::context::pem);
    }
    ::setenv("no_proxy", "127.0.0.1", 1);  // whatever proxy the machine has
    thread_ = std::thread([this] { accept(); });
  }
  ~HubServer() {
    stopping_ = true;
    boost::system::error_code ignored;
    {  // wakes accept()
      asio::ip::tcp::socket socket(io_);
      socket.connect(acceptor_.local_endpoint(), ignored);
    }
    thread_.join();
    for (auto& socket : sockets_) ::shutdown(socket->native_handle(), SHUT_RDWR);  // clients keep connections open
    for (auto& worker : workers_) worker.join();
  }

  int port() const { return acceptor_.local_endpoint().port(); }
  std::string url() const { return cat(context_ ? "https" : "http", "://127.0.0.1:", port()); }

  // What it serves. Set before requests come, or under lock().
  std::string commit = std::string(40, 'a');
  std::map<std::string, HubFiles> repositories;  ///< "models/owner/name", "datasets/owner/name"
  std::string elsewhere;                         ///< URL of the server that large files are redirected to
  std::string token;                             ///< wanted of each request if not empty
  int file_status = 0;                           ///< answered to requests for files if not 0,
  std::string file_error;                        ///< with this X-Error-Code
  bool has_hashes = true;                        ///< ModelScope: the listing names them
  std::size_t page_size = 1000;                  ///< entries of a listing's page
  std::function<std::optional<Fault>()> next_fault = [] { return std::nullopt; };
  std::function<void(std::size_t)> on_body = [](std::size_t) {};  ///< bytes of a body that were sent
  std::size_t chunk = 1 << 16;                                    ///< bytes of a body sent at once

  std::vector<Seen> seen() const {
    const std::lock_guard guard(mutex_);
    return seen_;
  }

 private:
  using Request = http::request<http::empty_body>;
  using Tcp = asio::ip::tcp::socket;

  void accept() {
    for (;;) {
      Tcp socket(io_);
      boost::system::error_code error;
      acceptor_.accept(socket, error);
      if (stopping_) return;
      if (error) continue;
      socket.set_option(asio::ip::tcp::no_delay(true));
      sockets_.push_back(std::make_shared<Tcp>(std::move(socket)));
      workers_.emplace_back([this, socket = sockets_.back()] {
        try {
          if (context_) {
            asio::ssl::stream<Tcp&> secure(*socket, *context_);
            secure.handshake(asio::ssl::stream_base::server);
            converse(secure);
          } else {
            converse(*socket);
          }
        } catch (const std::exception&) {  // the client went away, or did not like the certificate
        }
        ::shutdown(socket->native_handle(), SHUT_RDWR);
      });
    }
  }

  template <class Stream>
  void converse(Stream& stream) {
    boost::beast::flat_buffer buffer;
    for (;;) {
      Request request;
      boost::system::error_code error;
      http::read(stream, buffer, request, error);
      if (error) return;
      note(request);
      if (!answer(stream, request)) return;
    }
  }

  void note(const Request& request) {
    const auto field = [&](const char* name) { return std::string(request[name]); };
    const std::lock_guard guard(mutex_);
    seen_.push_back({std::string(request.method_string()), std::string(request.target()), field("Authorization"),
                     field("Cookie"), field("Range"), field("Host")});
  }

  template <class Stream>
  static bool send(Stream& stream, int status, const std::string& fields, std::string_view body) {
    asio::write(stream, asio::buffer(cat("HTTP/1.1 ", status, " Said\r\n", fields, "Content-Length: ", body.size(),
                                         "\r\n\r\n", body)));
    return true;
  }
  template <class Stream>
  static bool send_json(Stream& stream, const nlohmann::json& body, const std::string& fields = "") {
    return send(stream, 200, fields + "Content-Type: application/json\r\n", body.dump());
  }

  static std::string decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i)
      if (text[i] == '%') {
        out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
        i += 2;
      } else {
        out += text[i];
      }
    return out;
  }
  static std::string parameter(const std::string& query, const std::string& name) {
    const auto at = ("&" + query).find("&" + name + "=");
    if (at == query.npos) return "";
    const auto begin = at + name.size() + 1;
    return decoded(query.substr(begin, query.find('&', begin) - begin));
  }

  /// False: the connection ends.
  template <class Stream>
  bool answer(Stream& stream, const Request& request) {
    std::string target(request.target());
    if (const auto scheme = target.find("://"); target.front() != '/' && scheme != target.npos)
      target = target.substr(target.find('/', scheme + 3));  // as a proxy is asked
    const auto mark = target.find('?');
    const std::string path = decoded(target.substr(0, mark)),
                      query = mark == target.npos ? "" : target.substr(mark + 1);
    if (!token.empty() && request["Authorization"] != "Bearer " + token)
      return send(stream, 401, "X-Error-Code: RepoNotFound\r\nX-Error-Message: Repository not found\r\n", "{}");
    if (path.starts_with("/cdn/")) return send_cdn(stream, request, path.substr(5));
    for (const auto& [name, files] : repositories) {
      if (path.starts_with("/api/v1/" + name + "/repo")) return modelscope(stream, request, name, files, path, query);
      if (path == "/api/" + name) return send_json(stream, {{"id", name}, {"sha", commit}});
      if (path.starts_with("/api/" + name + "/")) return huggingface(stream, name, files, path, query);
      const std::string resolve = name.starts_with("models/") ? name.substr(6) : "/" + name;
      if (path.starts_with(resolve + "/resolve/" + commit + "/"))
        return send_resolve(stream, request, files, path.substr(resolve.size() + 10 + commit.size()));
    }
    return send(stream, 404, "X-Error-Code: RepoNotFound\r\n", "{}");
  }

  template <class Stream>
  bool huggingface(Stream& stream, const std::string& name, const HubFiles& files, const std::string& path,
                   const std::string& query) {
    const std::string route = path.substr(6 + name.size());  // after "/api/" and "/"
    if (route == "revision/main" || route == "revision/v1.0" || route == "revision/" + commit)
      return send_json(stream, {{"id", name}, {"sha", commit}});
    if (route != "tree/" + commit)
      return send(stream, 404, "X-Error-Code: RevisionNotFound\r\nX-Error-Message: Invalid rev id\r\n", "{}");
    const std::string cursor = parameter(query, "cursor");
    const std::size_t first = cursor.empty() ? 0 : std::stoul(cursor);
    nlohmann::json entries = nlohmann::json::array();
    if (first == 0) entries.push_back({{"type", "directory"}, {"oid", git_id("")}, {"size", 0}, {"path", "a_folder"}});
    std::size_t at = 0;
    for (const auto& [file, data] : files) {
      if (at++ < first || at > first + page_size) continue;
      const std::size_t size = data.content.size();
      nlohmann::json entry = {{"type", "file"}, {"oid", git_id(data.content)}, {"size", size}, {"path", file}};
      if (data.lfs) entry["lfs"] = {{"oid", hub::sha256_of(data.content)}, {"size", size}, {"pointerSize", 134}};
      entries.push_back(entry);
    }
    const std::string link =
        cat("Link: <", url(), path, "?recursive=True&cursor=", first + page_size, ">; rel=\"next\"\r\n");
    return send_json(stream, entries, files.size() > first + page_size ? link : "");
  }

  template <class Stream>
  bool modelscope(Stream& stream, const Request& request, const std::string& name, const HubFiles& files,
                  const std::string& path, const std::string& query) {
    const std::string route = path.substr(("/api/v1/" + name + "/repo").size());
    if (parameter(query, "Revision") != "master" && parameter(query, "Revision") != "v1.0")
      return send(stream, 404, "", R"({"Code": 10010205, "Message": "no such revision"})");
    if (route.empty()) {
      if (file_status) return send_refusal(stream);
      const auto file = files.find(parameter(query, "FilePath"));
      return file == files.end() ? send(stream, 404, "", "{}") : send_file(stream, request, file->second.content, "");
    }
    nlohmann::json entries = nlohmann::json::array();
    for (const auto& [file, data] : files)
      entries.push_back({{"Name", file},
                         {"Path", file},
                         {"Type", "blob"},
                         {"Size", data.content.size()},
                         {"Sha256", has_hashes ? hub::sha256_of(data.content) : ""}});
    entries.push_back({{"Name", "a_folder"}, {"Path", "a_folder"}, {"Type", "tree"}, {"Size", 0}});
    return send_json(stream, {{"Code", 200}, {"Success", true}, {"Data", {{"Files", entries}}}});
  }

  template <class Stream>
  bool send_refusal(Stream& stream) {
    return send(stream, file_status, file_error.empty() ? "" : cat("X-Error-Code: ", file_error, "\r\n"), "{}");
  }

  template <class Stream>
  bool send_resolve(Stream& stream, const Request& request, const HubFiles& files, const std::string& name) {
    if (file_status) return send_refusal(stream);
    const auto file = files.find(name);
    if (file == files.end()) return send(stream, 404, "X-Error-Code: EntryNotFound\r\n", "");
    const std::string fields = cat("X-Repo-Commit: ", commit, "\r\n");
    const HubFile& data = file->second;
    if (!data.lfs)
      return send_file(stream, request, data.content, fields + cat("ETag: \"", git_id(data.content), "\"\r\n"));
    const std::string hash = hub::sha256_of(data.content);
    const std::string linked = cat("X-Linked-Size: ", data.content.size(), "\r\nX-Linked-Etag: \"", hash, "\"\r\n");
    if (elsewhere.empty()) return send_file(stream, request, data.content, fields + linked);
    return send(stream, 302, cat(fields, linked, "Location: ", elsewhere, "/cdn/", hash, "?signature=secret\r\n"), "");
  }
  template <class Stream>
  bool send_cdn(Stream& stream, const Request& request, const std::string& hash) {
    for (const auto& [name, files] : repositories)
      for (const auto& [path, data] : files)
        if (hub::sha256_of(data.content) == hash) return send_file(stream, request, data.content, "ETag: \"cdn\"\r\n");
    return send(stream, 404, "", "");
  }

  template <class Stream>
  bool send_file(Stream& stream, const Request& request, const std::string& content, std::string fields) {
    const std::string range(request["Range"]);  // "bytes=N-"
    std::size_t from = range.empty() ? 0 : std::stoul(range.substr(6));
    const auto fault = request.method() == http::verb::get ? next_fault() : std::nullopt;
    const auto is = [&](Fault one) { return fault == one; };
    if (is(Fault::closed)) return false;
    if (is(Fault::busy)) return send(stream, 429, "Retry-After: 1\r\n", "slow down");
    if (is(Fault::failing)) return send(stream, 503, "", "later");
    if (is(Fault::no_such_range) && from > 0)
      return send(stream, 416, cat("Content-Range: bytes */", from, "\r\n"), "");
    if (is(Fault::other_etag))
      if (const auto at = fields.find("X-Linked-Etag: \""); at != fields.npos) fields[at + 16] ^= 1;
    if (is(Fault::no_range)) from = 0;
    if (from >= content.size() && from > 0) return send(stream, 416, "", "");
    const bool part = from > 0;
    if (is(Fault::other_range) && part) from -= 1;
    std::string body = content.substr(from);
    if (is(Fault::shorter)) body.resize(body.size() - body.size() / 3 - 1);
    if (is(Fault::longer)) body += "more";
    if (is(Fault::other_bytes)) body.back() ^= 1;
    if (part) fields += cat("Content-Range: bytes ", from, "-", content.size() - 1, "/", content.size(), "\r\n");
    std::string head =
        cat("HTTP/1.1 ", part ? 206 : 200, " Said\r\n", fields, "Content-Length: ", body.size(), "\r\n\r\n");
    if (request.method() == http::verb::head) body.clear();
    if (is(Fault::cut)) body.resize(body.size() / 2);
    asio::write(stream, asio::buffer(head));
    for (std::size_t sent = 0; sent < body.size(); sent += chunk) {
      const auto piece = std::string_view(body).substr(sent, chunk);
      asio::write(stream, asio::buffer(piece.data(), piece.size()));
      on_body(piece.size());
    }
    return !is(Fault::cut);
  }

  asio::io_context io_;
  std::optional<asio::ssl::context> context_;
  asio::ip::tcp::acceptor acceptor_;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::vector<Seen> seen_;
  std::vector<std::shared_ptr<Tcp>> sockets_;  // closed at the end: their numbers are not used twice
  std::vector<std::thread> workers_;
  std::thread thread_;
};

/// Content that does not compress and differs by seed.
inline std::string content_of(unsigned seed, std::size_t size) {
  std::string text(size, '\0');
  std::uint64_t state = seed * 2 + 1;
  for (char& c : text) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>(state >> 56);
  }
  return text;
}

/// The files of a small model's repository, and some that a model does not need.
inline HubFiles model_files(unsigned seed = 1, std::size_t weights = 200'000) {
  return {{"config.json", {R"({"model_type": "test"})"}},
          {"tokenizer.json", {content_of(seed + 1, 5000)}},
          {"model-00001-of-00002.safetensors", {content_of(seed + 2, weights), true}},
          {"model-00002-of-00002.safetensors", {content_of(seed + 3, weights / 3), true}},
          {"model.safetensors.index.json",
           {R"({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})"}},
          {"README.md", {"# a model\n"}},
          {"pytorch_model.bin", {content_of(seed + 4, 100), true}},
          {"onnx/model.json", {"{}"}}};
}

}  // namespace lamina::testing
