#include <lamina/hub/http/curl.hpp>
#include <lamina/hub/snapshot.hpp>

#include "hub/hub_folder.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/made/certificate.hpp"
#include "support/notes.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

std::string fetch_error(hub::Transport& transport, const hub::HubSettings& settings,
                        const hub::SnapshotRequest& request) {
  std::string error;
  notes_of([&] {
    error = error_of([&] { hub::fetch_snapshot(transport, settings, request, {.attempts = 2, .sleep = [](auto) {}}); });
  });
  return error;
}

/// Answers every listing with one entry.
class Listing final : public hub::Transport {
 public:
  explicit Listing(std::string body) : body_(std::move(body)) {}
  hub::HttpHead get(const hub::GetRequest& request, const hub::HttpReceiver& to) override {
    asked.push_back(request.url);
    hub::HttpHead head;
    head.status = 200;
    if (contains(request.url, "/tree/")) head.fields["link"] = link;
    if (const auto at = link.find('#'); at != link.npos) head.fields["link"].replace(at, 1, cat(asked.size()));
    to.head(head), to.body(std::as_bytes(std::span(body_)));
    return head;
  }
  std::vector<std::string> asked;
  std::string link;  ///< a # in it becomes the number of the answer

 private:
  std::string body_;
};

hub::SnapshotRequest at_commit(const HubTest& test) {
  auto request = test.request();
  request.repo.revision = test.server.commit;
  return request;
}

}  // namespace

TEST_CASE("Security: TLS works with a certificate that is trusted, and with no other") {
  const auto tls = make_certificate("IP:127.0.0.1"), other_name = make_certificate("DNS:another.test");
  HubServer server(tls), impostor(other_name);
  server.repositories["models/owner/name"] = impostor.repositories["models/owner/name"] = model_files();
  HubTest test;
  const fs::path trusted = test.folder.path() / "trusted.pem";
  std::ofstream(trusted) << tls.certificate << other_name.certificate;
  auto settings = test.settings();
  settings.endpoint = server.url();

  hub::CurlTransport suspicious;
  const std::string unknown = fetch_error(suspicious, settings, test.request());
  CHECK(contains(unknown, "certificate"));
  CHECK(contains(unknown, "name its certificate with SSL_CERT_FILE"));
  CHECK(server.seen().empty());
  hub::CurlTransport transport({.certificates = {trusted.string(), "CURL_CA_BUNDLE"}});
  CHECK(fetch_error(transport, settings, test.request()) == "");
  settings.endpoint = impostor.url();  // trusted, but not for this host
  settings.cache /= "2";
  const std::string other = fetch_error(transport, settings, test.request());
  CHECK(contains(other, "certificate"));
  CHECK(contains(other, cat("trusted are the certificates that CURL_CA_BUNDLE names (", trusted.string(), ")")));
  CHECK(impostor.seen().empty());
  hub::CurlTransport folder({.certificates = {test.folder.path().string(), "SSL_CERT_DIR"}});  // trusts nobody
  settings.endpoint = server.url();
  CHECK(contains(fetch_error(folder, settings, test.request()), "that SSL_CERT_DIR names"));
  hub::CurlTransport no_file({.certificates = {"/nonexistent.pem", "SSL_CERT_FILE"}});
  CHECK(contains(fetch_error(no_file, settings, test.request()), "SSL_CERT_FILE names /nonexistent.pem"));
}

TEST_CASE("Security: a redirect from https to http is refused") {
  const auto tls = make_certificate("IP:127.0.0.1");
  HubServer server(tls), plain;
  server.repositories["models/owner/name"] = plain.repositories["models/owner/name"] = model_files();
  server.elsewhere = plain.url();
  HubTest test;
  std::ofstream(test.folder.path() / "trusted.pem") << tls.certificate;
  auto settings = test.settings();
  settings.endpoint = server.url();
  hub::CurlTransport transport({.certificates = {(test.folder.path() / "trusted.pem").string(), "SSL_CERT_FILE"}});
  for (const std::string& scheme : {std::string("https"), std::string("HTTPS")}) {
    settings.endpoint.replace(0, 5, scheme);
    CHECK(contains(fetch_error(transport, settings, test.request()), "from https to http://127.0.0.1"));
  }
  CHECK(plain.seen().empty());
}

TEST_CASE("Security: the token goes to the hub, and not to where it redirects") {
  HubServer elsewhere;
  elsewhere.repositories["models/owner/name"] = model_files();
  HubTest test;
  test.server.elsewhere = elsewhere.url();
  test.server.token = "hf_secret";
  auto settings = test.settings();
  settings.token = "hf_secret";
  hub::CurlTransport transport;
  CHECK(fetch_error(transport, settings, test.request()) == "");
  REQUIRE(elsewhere.seen().size() == 2);
  for (const Seen& seen : elsewhere.seen()) {
    CHECK(seen.authorization == "");
    CHECK(seen.cookie == "");
  }
}

TEST_CASE("Security: a host behind a backslash is refused, whoever redirects to it") {
  HubServer elsewhere;
  elsewhere.repositories["models/owner/name"] = model_files();
  HubTest test;
  test.server.elsewhere = cat(test.server.url(), "\\@", elsewhere.url().substr(std::string("http://").size()));
  auto settings = test.settings();
  settings.token = test.server.token = "hf_secret";
  hub::CurlTransport transport;
  CHECK(contains(fetch_error(transport, settings, test.request()), "which is no address of a web server: refused"));
  CHECK(elsewhere.seen().empty());
}

TEST_CASE("Security: names of files that would leave the folder or hide something are refused with the reason") {
  HubTest test;
  const std::string part(201, 'a'), path = part.substr(1) + "/";
  const auto refused = [&](const std::string& name, const char* reason) {
    CAPTURE(name);
    Listing transport(cat(R"([{"type":"file","size":1,"oid":")", std::string(40, '0'), R"(","path":")", name, "\"}]"));
    CHECK(contains(fetch_error(transport, test.settings(), at_commit(test)), cat("\", which ", reason, ": refused")));
    CHECK(transport.asked.size() == 1);
  };
  for (const char* name : {"../x.json", "/etc/x.json", "a/../../x.json", "a//x.json", "..", "a/./x.json", "a/"})
    refused(name, "is not a path inside a folder");
  for (const char* name : {"a\\\\x.json", "C:x.json"})
    refused(name, "holds \\ or :, a path of its own on other systems");
  for (const char* name : {"x\\u0000.json", "x\\n.json", "x\\u009b31m.json", "x\\u0085.json", "x\\u202egpj.json",
                           "x\\u200b.json", "../\\u001b.json"})
    refused(name, "holds a control character or an invisible one");
  refused("", "is empty");
  refused(part, "has a part longer than 200 bytes");
  refused(path + path + path + path + path + path, "is longer than 1024 bytes");
  CHECK(hub::path_fault("\xff") == "which is not UTF-8");
  // what clients write for themselves; of .msc and .mdl ModelScope's reads pickles, and git runs what .git/config names
  for (const char* path : {"ü/日本 1.json", ".gitattributes", "a\u200db.json", ".mscx"}) CHECK(hub::is_safe_path(path));
  CHECK(!fs::exists(test.folder.path() / "cache"));
}

TEST_CASE("Security: files that clients write for themselves are left out, with a note about the first") {
  HubTest test;
  HubFiles& files = test.server.repositories["models/owner/name"];
  files = {{"config.json", {"{}"}}};
  // of .msc and .mdl ModelScope's client reads pickles, and git runs what .git/config names
  const char* const reserved[] = {"x.json.incomplete",   ".cache", ".cache/huggingface/download/x.json.metadata",
                                  ".cache/huggingface",  ".msc",   ".cache/lamina/source",
                                  ".git/config",         ".mdl",   ".mv",
                                  "sub/.GIT/config.json"};
  for (const char* path : reserved) {
    CHECK(hub::is_reserved(path));
    files[path] = {"harm"};
  }
  for (const char* path : {"a/.msc", ".gitattributes", ".cache/x.json", ".mscx"}) CHECK(!hub::is_reserved(path));
  auto request = test.request();
  request.selection.include = {"*"};
  request.local_dir = test.folder.path() / "model";
  hub::CurlTransport transport;
  const std::string notes = notes_of([&] { hub::fetch_snapshot(transport, test.settings(), request, test.retry); });
  CHECK(contains(notes, "a name that clients keep for themselves: such files are left out"));
  CHECK(notes.find("left out") == notes.rfind("left out"));
  CHECK(names_in(request.local_dir) == std::set<std::string>{"config.json"});
  for (const Seen& seen : test.server.seen())
    CHECK((!contains(seen.target, "/resolve/") || seen.target.ends_with("/config.json")));
}

TEST_CASE("Security: a listing's memory is bounded, by its values and by its names") {
  HubTest test;
  std::string values = "[";
  while (values.size() < 2'000'000) values += R"({"type":"x"},[],)";
  Listing many(values + "0]");
  CHECK(contains(fetch_error(many, test.settings(), at_commit(test)), "of more than"));
  hub::Listing listing;
  const std::string error = error_of([&] {
    for (int i = 0;; ++i) {
      const std::string name = cat(100'000 + i, "/", std::string(200, 'n'));
      hub::add_file(listing, "hub.test", {cat(name, "/", std::string(200, 'm'), "/", std::string(200, 'o')), 1, {}});
    }
  });
  CHECK(contains(error, "bytes of names: refused"));
  CHECK(listing.files.size() < 60'000);
  std::set<std::string> parts;
  for (int i = 0; i < 20; ++i) parts.insert(cat("m", i, "-00001-of-99999.safetensors"));
  CHECK(hub::missing_parts(parts).size() == 1000);
}

TEST_CASE("Security: listings that are wrong or endless are refused by the field") {
  HubTest test;
  const auto error = [&](const std::string& body) {
    Listing transport(body);
    return fetch_error(transport, test.settings(), at_commit(test));
  };
  const std::string zeros(40, '0');
  CHECK(contains(error(" <html>\xff"), "the answer is not JSON: it is a page: is this the address of a hub"));
  CHECK(contains(error("no hub"), "the answer is not JSON: it begins with no hub: is this the address of a hub"));
  CHECK(contains(error("[{"), "the answer is not JSON: it is cut off or damaged: run again"));
  CHECK(contains(error(""), "the answer is not JSON: it is empty"));
  const std::string bytes = error("[{\"type\":\"file\",\"path\":\"a\xff.json\"}]");
  CHECK(contains(bytes, "the answer is not JSON: it holds bytes that are not UTF-8"));
  CHECK(!contains(bytes, "login"));
  CHECK(contains(error("{}"), "an array of files is wanted, got object"));
  CHECK(contains(error(R"([{"type":"file","path":"a.json","size":-1,"oid":")" + zeros + "\"}]"), "\"size\" is -1"));
  CHECK(contains(error(R"([{"type":"file","path":"a.json","size":99999999999999999,"oid":")" + zeros + "\"}]"),
                 "up to 2^44"));
  CHECK(contains(error(R"([{"type":"file","path":"a.json","size":1,"oid":"../../x"}])"),
                 "\"oid\" is \"../../x\", wanted a SHA-256"));
  CHECK(contains(error(std::string(65u << 20, ' ')), "an answer of more than"));

  Listing endless("[]");
  endless.link = cat("<", test.server.url(), "/api/models/owner/name/tree/x?page=#>; rel=\"next\"");
  CHECK(contains(fetch_error(endless, test.settings(), at_commit(test)), "more than 1000 pages"));
  Listing circle("[]");
  circle.link = cat("<", test.server.url(), "/api/models/owner/name/tree/x>; rel=\"next\"");
  CHECK(contains(fetch_error(circle, test.settings(), at_commit(test)), "a page that came before"));
  CHECK(circle.asked.size() == 2);
  Listing astray("[]");
  astray.link = "<http://127.0.0.1:1/tree/>; rel=\"next\"";
  CHECK(contains(fetch_error(astray, test.settings(), at_commit(test)), "which is not the hub"));
  CHECK(astray.asked.size() == 1);
  Listing relative("[]");
  relative.link = "</api/x>; rel=\"next\"";
  CHECK(
      contains(fetch_error(relative, test.settings(), at_commit(test)), "its listing goes on at /api/x, which is not"));
}

TEST_CASE("Security: a server that does not turn the page of a listing is left at the second") {
  HubTest test;
  test.source = hub::Source::modelscope;
  std::string entries;
  for (int i = 0; i < 200; ++i) entries += cat(i ? "," : "", R"({"Path":")", i, R"(.json","Type":"blob","Size":1})");
  Listing pages(cat(R"({"Code":200,"Data":{"Files":[)", entries, "]}}"));
  auto request = test.request();
  request.repo.type = hub::RepoType::dataset;
  CHECK(contains(fetch_error(pages, test.settings(), request), "holds the same files as the page before: refused"));
  CHECK(pages.asked.size() == 2);
}

TEST_CASE(
    "Security: of links and other entries that are no files a note names the first, and no other is lost silently") {
  HubTest test;
  const std::string oid(40, '0');
  const auto notes_for = [&](const std::string& body, const hub::Source source) {
    test.source = source;
    Listing transport(body);
    std::string error;
    const std::string notes = notes_of([&] {
      error = error_of([&] {
        auto request = test.request();
        if (source == hub::Source::huggingface) request.repo.revision = test.server.commit;
        hub::fetch_snapshot(transport, test.settings(), request, {.attempts = 1});
      });
    });
    CHECK(error == cat("owner/name: the repository is empty at revision ",
                       source == hub::Source::huggingface ? test.server.commit : "master",
                       " but for what is left out"));
    return notes;
  };
  const std::string hf = notes_for(cat(R"([{"type":"symlink","path":"model\u001b.json","oid":")", oid,
                                       R"("},{"type":"directory","path":"a","oid":")", oid,
                                       R"("},{"type":"commit","path":"b","oid":")", oid, "\"}]"),
                                   hub::Source::huggingface);
  CHECK(contains(hf, R"(lists "model\x1b.json" with the type "symlink": only files are fetched)"));
  CHECK(hf.find("left out") == hf.rfind("left out"));
  const std::string ms =
      notes_for(R"({"Code":200,"Data":{"Files":[{"Path":"a","Type":"tree"},{"Path":"b","Type":"link"}]}})",
                hub::Source::modelscope);
  CHECK(contains(ms, R"(lists "b" with the type "link")"));
}

TEST_CASE("Security: an empty repository is called empty") {
  HubTest test;
  Listing transport("[]");
  auto request = at_commit(test);
  if (GENERATE(false, true))
    request.choose = [](const hub::Listing& listing) { return listing.files; };  // a data set's
  CHECK(fetch_error(transport, test.settings(), request) ==
        cat("owner/name: the repository is empty at revision ", test.server.commit));
}

TEST_CASE("Security: passwords and signatures in URLs are not shown") {
  CHECK(hub::without_password("bad proxy 'http://user:pw@proxy:99999' and https://a@b/c@d") ==
        "bad proxy 'http://***@proxy:99999' and https://***@b/c@d");
  CHECK(hub::without_password("http://host/path//x y@z") == "http://host/path//x y@z");
  CHECK(hub::without_query("https://host/file?signature=secret") == "https://host/file");
  HubTest test;
  auto settings = test.settings();
  settings.endpoint = "http://user:secret@127.0.0.1:1";
  hub::CurlTransport transport;
  const std::string message = fetch_error(transport, settings, test.request());
  CHECK(message.find("secret") == message.npos);
  CHECK(message.find("***@127.0.0.1") != message.npos);
  ::setenv("http_proxy", "http://user:secret@127.0.0.1:99999", 1);
  for (const char* name : {"no_proxy", "NO_PROXY"}) ::unsetenv(name);
  settings.endpoint = "http://hub.test:1";
  hub::CurlTransport by_proxy;
  const std::string refused = fetch_error(by_proxy, settings, test.request());
  ::unsetenv("http_proxy");
  CHECK(refused != "");
  CHECK(refused.find("secret") == refused.npos);
}

TEST_CASE("Security: origins are compared as servers are reached") {
  CHECK(hub::origin_of("HTTPS://Hub.test:8443/a?b#c") == "https://hub.test:8443");
  CHECK(hub::origin_of("https://hub.test?x=/") == "https://hub.test");
  for (const char* url : {"https://hub.test@evil.test/", "https://hub.test\\@evil.test/", "https://hub.test\\x",
                          "ftp://hub.test/", "file:///etc/passwd", "hub.test", "https://"})
    CHECK(contains(error_of([&] { hub::origin_of(url); }), "wanted a URL"));
}

TEST_CASE("Security: proxies of the environment are used, and no_proxy is heeded") {
  HubTest test;
  hub::CurlTransport transport;
  auto settings = test.settings();
  settings.endpoint = "http://127.0.0.1:1";  // where nobody listens, as the proxy need not know
  ::setenv("http_proxy", test.server.url().c_str(), 1);
  for (const char* name : {"no_proxy", "NO_PROXY"}) ::unsetenv(name);
  CHECK(fetch_error(transport, settings, test.request()) == "");
  CHECK(test.server.seen().front().target.starts_with("http://127.0.0.1:1/api/models/owner/name/"));
  ::setenv("no_proxy", "127.0.0.1", 1);
  settings.cache /= "2";
  hub::CurlTransport direct;
  CHECK(fetch_error(direct, settings, test.request()) != "");
  ::unsetenv("http_proxy");
}
