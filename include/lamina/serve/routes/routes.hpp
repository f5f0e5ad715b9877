#pragma once
#include <algorithm>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/io/program/version.hpp>
#include <lamina/serve/adapters/adapter_routes.hpp>
#include <lamina/serve/http/auth.hpp>
#include <lamina/serve/http/cors.hpp>
#include <lamina/serve/http/decorated_exchange.hpp>
#include <lamina/serve/http/http_counts.hpp>
#include <lamina/serve/http/transport.hpp>
#include <lamina/serve/jobs/service.hpp>
#include <lamina/serve/routes/api_description.hpp>
#include <lamina/serve/routes/chat_page.hpp>
#include <lamina/serve/routes/token_routes.hpp>
#include <lamina/serve/routes/unbuilt_routes.hpp>

namespace lamina::serve {

/// How the routes answer, whatever they answer.
struct RouteOptions {
  std::vector<std::string> api_keys = {};
  std::string root_path = {};  ///< a prefix that a proxy may leave in place
  CorsOptions cors = {};
  bool request_id_headers = false, access_log = true;
  bool page = true;                              ///< at /
  std::vector<std::string> unlogged_paths = {};  ///< whose requests the access log leaves out
  std::string version = std::string(lamina::version);
  bool tokenizer_info = false;  ///< GET /tokenizer_info: --enable-tokenizer-info-endpoint
  bool developer = false;       ///< GET /server_info, POST /reset_prefix_cache: VLLM_SERVER_DEV_MODE=1
  bool load_adapters = false;   ///< POST /v1/load_lora_adapter and its opposite: VLLM_ALLOW_RUNTIME_LORA_UPDATING=1
  bool docs = true;             ///< GET /docs and /openapi.json
  std::string settings = {};    ///< what /server_info shows: options without secrets
};

/// The paths of the API. Key, path, method and content type are judged from a request's header; what has no body is
/// answered there too, so that /health never waits for anything.
class Routes final : public HttpApplication {
 public:
  /// The service must outlive the routes.
  Routes(ChatService& service, RouteOptions options)
      : service_(service), options_(std::move(options)), keys_(options_.api_keys), created_(std::time(nullptr)) {
    using R = Routes;
    table_ = {{"GET", "/health", false, &R::health, {}},
              {"GET", "/ping", false, &R::health, {}},
              {"POST", "/ping", false, &R::health, {}},
              {"GET", "/version", false, &R::version, {}},
              {"GET", "/metrics", false, &R::metrics, {}},
              {"GET", "/load", false, &R::load, {}},
              {"GET", "/v1/models", true, &R::models, {}},
              {"POST", "/v1/chat/completions", true, {}, &R::chat},
              {"POST", "/v1/completions", true, {}, &R::complete},
              {"POST", "/v1/chat/completions/batch", true, {}, &R::chat_batch},
              {"POST", "/v1/responses", true, {}, &R::respond},
              {"POST", "/v1/responses/input_tokens", true, {}, &R::count_input_tokens},
              {"GET", "/v1/responses/{id}", true, &R::stored_response, {}},
              {"DELETE", "/v1/responses/{id}", true, &R::stored_response, {}},
              {"POST", "/v1/responses/{id}/cancel", true, &R::stored_response, {}},
              {"GET", "/v1/responses/{id}/input_items", true, &R::stored_response, {}},
              {"POST", "/v1/messages", true, {}, &R::messages},
              {"POST", "/v1/messages/count_tokens", true, {}, &R::count_tokens},
              {"POST", "/tokenize", true, {}, &R::tokenize},
              {"POST", "/detokenize", true, {}, &R::detokenize}};
    if (options_.page) table_.push_back({"GET", "/", false, &R::page, {}});
    if (options_.tokenizer_info) table_.push_back({"GET", "/tokenizer_info", true, &R::tokenizer_info, {}});
    if (options_.developer) {
      table_.push_back({"GET", "/server_info", true, &R::server_info, {}});
      table_.push_back({"POST", "/reset_prefix_cache", true, &R::reset_prefix_cache, {}});
    }
    if (options_.load_adapters) {
      table_.push_back({"POST", "/v1/load_lora_adapter", true, {}, &R::load_adapter});
      table_.push_back({"POST", "/v1/unload_lora_adapter", true, {}, &R::unload_adapter});
    }
    if (!options_.docs) return;
    table_.push_back({"GET", "/docs", true, &R::docs, {}});
    table_.push_back({"GET", "/openapi.json", true, &R::openapi, {}});
  }

  std::optional<HttpReply> judge(const RequestHead& head) override {
    const std::string path = own_path(head);
    if (head.method == "OPTIONS") return preflight(head, path);
    try {
      return route(head, path);
    } catch (const ApiError& e) {
      HttpReply reply = error_reply(e);
      if (e.status == 401) reply.headers.push_back({"WWW-Authenticate", "Bearer"});
      if (e.status == 405) reply.headers.push_back({"Allow", allowed(path)});
      return reply;
    }
  }
  void answer(std::shared_ptr<Exchange> inner, HttpRequest request) override {
    const std::string path = own_path(request);
    auto exchange = std::make_shared<detail::DecoratedExchange>(std::move(inner), common_headers(request),
                                                                log_line(request), counts_, count_key(request));
    for (const auto& r : table_)
      if (r.path == path && r.method == request.method && r.with_body) return (this->*r.with_body)(exchange, request);
  }
  void complete(const RequestHead& head, HttpReply& reply) override {
    counts_.add(count_key(head), reply.status, {});
    for (auto& header : common_headers(head)) reply.headers.push_back(std::move(header));
    if (const auto line = log_line(head); !line.empty()) log_info(line, " ", reply.status);
  }
  void drain() override { service_.drain(); }
  void cancel() override { service_.cancel(); }

 private:
  using ExchangePtr = std::shared_ptr<Exchange>;
  /// Answered from the header alone, or with the body.
  struct Route {
    std::string method, path;
    bool guarded;
    HttpReply (Routes::*without_body)(const std::string& path) const;
    void (Routes::*with_body)(ExchangePtr, HttpRequest&) const;
  };
  static constexpr std::string_view one_model = "/v1/models/", one_response = "/v1/responses/";

  /// The path without a proxy's prefix.
  std::string own_path(const RequestHead& head) const {
    const auto& root = options_.root_path;
    return !root.empty() && head.path.starts_with(root + "/") ? head.path.substr(root.size()) : head.path;
  }
  static std::string route_path(const std::string& path) {
    if (path.size() > one_model.size() && path.starts_with(one_model)) return "/v1/models";
    if (path.size() == one_response.size() || !path.starts_with(one_response)) return path;
    const std::size_t end = path.find('/', one_response.size());
    const std::string rest = end == std::string::npos ? "" : path.substr(end);
    return rest.empty() && path.ends_with("/input_tokens") ? path : std::string(one_response) + "{id}" + rest;
  }
  HttpCounts::Key count_key(const RequestHead& head) const {
    static const std::vector<std::string> methods = {"GET", "HEAD", "OPTIONS", "POST"};
    const std::string path = own_path(head);
    return {known(path) ? route_path(path) : "none", detail::contains(methods, head.method) ? head.method : "other"};
  }
  bool known(const std::string& path) const {
    return std::any_of(table_.begin(), table_.end(), [&](const Route& r) { return r.path == route_path(path); });
  }

  std::optional<HttpReply> route(const RequestHead& head, const std::string& path) const {
    const std::string method = head.method == "HEAD" ? "GET" : head.method;
    const auto wanted = without_slashes(path);
    const std::string target = route_path(wanted.value_or(path));
    const auto on_path = [&](const Route& r) { return r.path == target; };
    const auto first = std::find_if(table_.begin(), table_.end(), on_path);
    // Which paths exist is not for everybody.
    if (first == table_.end() || first->guarded) check_key(head);
    if (first == table_.end()) {
      const std::string_view reason = reason_unbuilt(std::string_view(path).substr(0, path.find_last_not_of('/') + 1));
      throw ApiError(404, "Not Found", reason.empty() ? "Not Found" : cat(path, ": ", reason));
    }
    if (wanted) return redirect(*wanted, head.query);
    for (const auto& r : table_) {
      if (!on_path(r) || r.method != method) continue;
      if (r.without_body) return (this->*r.without_body)(path);
      check_json(head);
      return std::nullopt;
    }
    throw ApiError(405, "Method Not Allowed", "Method Not Allowed");
  }
  /// The path that a client meant that wrote slashes behind it; nothing if it is right as it is. A model may be served
  /// under a name that ends with a slash.
  std::optional<std::string> without_slashes(const std::string& path) const {
    if (!path.ends_with('/')) return {};
    if (path.starts_with(one_model) && is_model(detail::percent_decoded(path.substr(one_model.size())))) return {};
    std::string shorter = path.substr(0, path.find_last_not_of('/') + 1);
    if (known(shorter)) return shorter;
    return {};
  }
  bool is_model(const std::string& name) const {
    return detail::contains(service_.options().served_names, name) || service_.adapters().find(name);
  }
  /// As FastAPI does (redirect_slashes): 307 keeps method and body. The prefix is what the client's proxy knows.
  HttpReply redirect(const std::string& path, const std::string& query) const {
    return {307, {}, {}, {{"Location", options_.root_path + path + (query.empty() ? "" : "?" + query)}}};
  }
  void check_key(const RequestHead& head) const {
    const std::string* own = head.header("X-Api-Key");  // as clients of /v1/messages send it
    const std::string bearer = own ? "Bearer " + *own : "";
    const std::string* given = head.header("Authorization");
    if (!keys_.accept(given || !own ? given : &bearer))
      throw ApiError(401, "AuthenticationError", "Unauthorized: send the header Authorization: Bearer <key>");
  }
  std::string allowed(const std::string& path) const {
    std::string out;
    for (const auto& r : table_)
      if (r.path == route_path(path)) out += (out.empty() ? "" : ", ") + r.method;
    return out;
  }

  HeaderList common_headers(const RequestHead& head) const {
    HeaderList headers;
    if (options_.request_id_headers) {
      const std::string* id = head.header("X-Request-Id");
      headers.push_back({"X-Request-Id", id ? printable(*id) : random_id()});
    }
    for (auto& header : origin_headers(head, options_.cors)) headers.push_back(std::move(header));
    return headers;
  }
  std::string log_line(const RequestHead& head) const {
    if (!options_.access_log || detail::contains(options_.unlogged_paths, head.path)) return {};
    return cat(head.peer, " ", printable(head.method), " ", printable(head.path));
  }

  HttpReply preflight(const RequestHead& head, const std::string& path) const {
    if (is_preflight(head)) return preflight_reply(head, options_.cors);
    const std::string allow = path == "*" ? "GET, POST, HEAD" : allowed(path);
    if (allow.empty()) return error_reply({404, "Not Found", "Not Found"});
    return {204, {}, {}, {{"Allow", allow + ", OPTIONS"}}};
  }

  HttpReply health(const std::string&) const { return {200, {}, {}, {}}; }
  /// It holds no secrets; what it asks the API for needs a key as ever.
  HttpReply page(const std::string&) const {
    return {200,
            chat_page(),
            "text/html; charset=utf-8",
            {{"Content-Security-Policy", chat_page_policy()},
             {"X-Content-Type-Options", "nosniff"},
             {"Referrer-Policy", "no-referrer"}}};
  }
  HttpReply version(const std::string&) const {
    return {200, compact({{"version", options_.version}}), "application/json", {}};
  }
  HttpReply metrics(const std::string&) const {
    return {200,
            metrics_text(service_.statistics(), service_.prompt_counts(), service_.engine_facts(), counts_),
            "text/plain; version=0.0.4; charset=utf-8",
            {}};
  }
  HttpReply load(const std::string&) const {
    return {200, compact({{"server_load", service_.load()}}), "application/json", {}};
  }
  void chat(ExchangePtr exchange, HttpRequest& request) const {
    service_.chat(std::move(exchange), std::move(request));
  }

  void chat_batch(ExchangePtr exchange, HttpRequest& request) const {
    service_.chat_batch(std::move(exchange), std::move(request));
  }
  void messages(ExchangePtr exchange, HttpRequest& request) const {
    service_.messages(std::make_shared<MessagesExchange>(std::move(exchange)), std::move(request));
  }
  void respond(ExchangePtr exchange, HttpRequest& request) const {
    service_.respond(std::move(exchange), std::move(request));
  }
  void count_input_tokens(ExchangePtr exchange, HttpRequest& request) const {
    count_response_tokens(service_, std::move(exchange), std::move(request));
  }
  /// Responses are not stored, as in vLLM by default: there is none to return, delete or cancel.
  HttpReply stored_response(const std::string& path) const {
    const std::string rest = path.substr(one_response.size()),
                      id = detail::percent_decoded(rest.substr(0, rest.find('/')));
    if (!id.starts_with("resp_"))
      throw ApiError(400, "invalid_request_error",
                     cat("Invalid 'response_id': '", clipped(id), "'. Expected an ID that begins with 'resp'."),
                     "response_id");
    throw ApiError(404, "invalid_request_error",
                   cat("Response with id '", clipped(id), "' not found: this server does not store responses."),
                   "response_id");
  }
  void count_tokens(ExchangePtr exchange, HttpRequest& request) const {
    count_message_tokens(service_, std::make_shared<MessagesExchange>(std::move(exchange)), std::move(request));
  }
  void tokenize(ExchangePtr exchange, HttpRequest& request) const {
    answer_tokenize(service_, std::move(exchange), std::move(request));
  }
  void detokenize(ExchangePtr exchange, HttpRequest& request) const {
    answer_detokenize(service_, std::move(exchange), std::move(request));
  }
  HttpReply tokenizer_info(const std::string&) const {
    return {200, compact(service_.files().tokenizer_config), "application/json", {}};
  }
  HttpReply server_info(const std::string&) const {
    return {200, compact({{"version", options_.version}, {"vllm_config", options_.settings}}), "application/json", {}};
  }
  HttpReply reset_prefix_cache(const std::string&) const {
    service_.forget_prefixes();
    return {200, {}, {}, {}};
  }
  std::vector<DescribedRoute> described() const {
    std::vector<DescribedRoute> out;
    for (const auto& r : table_) out.push_back({r.method, r.path});
    return out;
  }
  HttpReply openapi(const std::string&) const {
    return {200, openapi_text(described(), options_.version), "application/json", {}};
  }
  HttpReply docs(const std::string&) const { return {200, docs_page(described()), "text/html; charset=utf-8", {}}; }
  void complete(ExchangePtr exchange, HttpRequest& request) const {
    service_.complete(std::move(exchange), std::move(request));
  }

  void load_adapter(ExchangePtr exchange, HttpRequest& request) const {
    answer_load_adapter(service_, std::move(exchange), std::move(request));
  }
  void unload_adapter(ExchangePtr exchange, HttpRequest& request) const {
    answer_unload_adapter(service_, std::move(exchange), std::move(request));
  }

  HttpReply models(const std::string& path) const {
    const Json all = cards();
    if (path == "/v1/models") return {200, compact({{"object", "list"}, {"data", all}}), "application/json", {}};
    const std::string wanted = detail::percent_decoded(path.substr(one_model.size()));
    const auto own = std::find_if(all.begin(), all.end(), [&](const Json& card) { return card["id"] == wanted; });
    if (own == all.end()) throw ChatService::unknown_model(wanted);
    return {200, compact(*own), "application/json", {}};
  }
  /// The model's served names, then its adapters.
  Json cards() const {
    Json list = Json::array();
    for (const auto& name : service_.options().served_names)
      list.push_back(card(name, created_, service_.options().root, nullptr, service_.max_model_len()));
    for (const auto& [module, adapter, created] : service_.adapters().list()) {
      list.push_back(card(module.name, created, module.path.string(), module.base_model_name, nullptr));
      list.back()["modules"] = adapter->modules;  // linear layers that it changes: ours, not vLLM's
    }
    return list;
  }
  Json card(const std::string& id, std::int64_t created, const std::string& root, Json parent, Json length) const {
    return {{"id", id},
            {"object", "model"},
            {"created", created},
            {"owned_by", "vllm"},  // what clients know such a server by
            {"root", root},
            {"parent", std::move(parent)},
            {"max_model_len", std::move(length)},
            {"permission", Json::array({permission()})}};
  }
  Json permission() const {
    return {{"id", "modelperm-" + random_id()},
            {"object", "model_permission"},
            {"created", created_},
            {"allow_create_engine", false},
            {"allow_sampling", true},
            {"allow_logprobs", true},
            {"allow_search_indices", false},
            {"allow_view", true},
            {"allow_fine_tuning", false},
            {"organization", "*"},
            {"group", nullptr},
            {"is_blocking", false}};
  }

  static void check_json(const RequestHead& head) {
    if (const std::string* coding = head.header("Content-Encoding"); coding && *coding != "identity")
      throw ApiError(400, "Bad Request", "Content-Encoding: is " + clipped(*coding) + ", wanted none");
    const std::string* type = head.header("Content-Type");
    if (!type) return;
    std::string kind = type->substr(0, type->find(';'));
    kind.erase(kind.find_last_not_of(" \t") + 1);
    std::transform(kind.begin(), kind.end(), kind.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (kind != "application/json")
      throw ApiError(400, "Bad Request", "Content-Type: is " + clipped(*type) + ", wanted application/json");
  }

  ChatService& service_;
  RouteOptions options_;
  ApiKeys keys_;
  std::int64_t created_;
  HttpCounts counts_;
  std::vector<Route> table_;
};

}  // namespace lamina::serve
