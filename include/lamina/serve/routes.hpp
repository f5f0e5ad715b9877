#pragma once
#include <ctime>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lamina/serve/auth.hpp>
#include <lamina/serve/service.hpp>
#include <lamina/serve/transport.hpp>

namespace lamina::serve {

/// How the routes answer, whatever they answer.
struct RouteOptions {
  std::vector<std::string> api_keys = {};
  std::string root_path = {};  ///< a prefix that a proxy may leave in place
  std::vector<std::string> allowed_origins = {"*"}, allowed_methods = {"*"}, allowed_headers = {"*"};
  bool allow_credentials = false, request_id_headers = false, access_log = true;
  std::vector<std::string> unlogged_paths = {};  ///< whose requests the access log leaves out
  std::string version = "0.1.0";
};

namespace detail {

/// Adds headers to whatever answer is given, and writes it to the log.
class DecoratedExchange : public Exchange {
 public:
  DecoratedExchange(std::shared_ptr<Exchange> inner, HeaderList headers, std::string log_line)
      : inner_(std::move(inner)), headers_(std::move(headers)), log_line_(std::move(log_line)) {}
  void reply(HttpReply reply) override {
    decorate(reply);
    inner_->reply(std::move(reply));
  }
  void begin_stream(HttpReply head) override {
    decorate(head);
    inner_->begin_stream(std::move(head));
  }
  void write(std::string bytes) override { inner_->write(std::move(bytes)); }
  void end_stream() override { inner_->end_stream(); }
  std::stop_token cancelled() const override { return inner_->cancelled(); }

 private:
  void decorate(HttpReply& reply) const {
    reply.headers.insert(reply.headers.end(), headers_.begin(), headers_.end());
    if (!log_line_.empty()) std::clog << cat(log_line_, " ", reply.status, "\n");
  }
  std::shared_ptr<Exchange> inner_;
  HeaderList headers_;
  std::string log_line_;
};

}  // namespace detail

/// The paths of the API. Call it with each request; it never blocks.
class Routes {
 public:
  /// The service must outlive the routes.
  Routes(ChatService& service, RouteOptions options)
      : service_(service), options_(std::move(options)), keys_(options_.api_keys), created_(std::time(nullptr)) {
    using R = Routes;
    table_ = {{"GET", "/health", false, &R::health},     {"GET", "/ping", false, &R::health},
              {"POST", "/ping", false, &R::health},      {"GET", "/version", false, &R::version},
              {"GET", "/v1/models", true, &R::models},   {"POST", "/v1/chat/completions", true, &R::chat},
              {"POST", "/tokenize", true, &R::tokenize}, {"POST", "/detokenize", true, &R::detokenize}};
  }

  void operator()(std::shared_ptr<Exchange> inner, HttpRequest request) const {
    if (const auto& root = options_.root_path; !root.empty() && request.path.starts_with(root + "/"))
      request.path.erase(0, root.size());
    auto exchange = decorate(std::move(inner), request);
    if (request.method == "OPTIONS") return preflight(*exchange, request);
    try {
      route(exchange, request);
    } catch (const ApiError& e) {
      HttpReply reply{e.status, e.body(), "application/json", {}};
      if (e.status == 401) reply.headers.push_back({"WWW-Authenticate", "Bearer"});
      if (e.status == 405) reply.headers.push_back({"Allow", allowed(request.path)});
      exchange->reply(std::move(reply));
    }
  }

 private:
  using ExchangePtr = std::shared_ptr<Exchange>;
  struct Route {
    std::string method, path;
    bool guarded;
    void (Routes::*handle)(ExchangePtr, HttpRequest&) const;
  };
  static constexpr std::string_view one_model = "/v1/models/";

  void route(const ExchangePtr& exchange, HttpRequest& request) const {
    const std::string method = request.method == "HEAD" ? "GET" : request.method;
    const bool is_model = request.path.size() > one_model.size() && request.path.starts_with(one_model);
    const std::string path = is_model ? "/v1/models" : request.path;
    bool known = false;
    for (const auto& r : table_) {
      if (r.path != path) continue;
      known = true;
      if (r.guarded) check_key(request);
      if (r.method == method) return (this->*r.handle)(exchange, request);
    }
    if (!known) check_key(request);  // which paths exist is not for everybody
    if (known) throw ApiError(405, "Method Not Allowed", "Method Not Allowed");
    throw ApiError(404, "Not Found", "Not Found");
  }
  void check_key(const HttpRequest& request) const {
    if (!keys_.accept(request.header("Authorization")))
      throw ApiError(401, "AuthenticationError", "Unauthorized: send the header Authorization: Bearer <key>");
  }
  std::string allowed(const std::string& path) const {
    std::string out;
    for (const auto& r : table_)
      if (r.path == path || (path.starts_with(one_model) && r.path == "/v1/models"))
        out += (out.empty() ? "" : ", ") + r.method;
    return out;
  }

  ExchangePtr decorate(ExchangePtr inner, const HttpRequest& request) const {
    HeaderList headers;
    if (options_.request_id_headers) {
      const std::string* id = request.header("X-Request-Id");
      headers.push_back({"X-Request-Id", id ? printable(*id) : random_id()});
    }
    for (auto& header : origin_headers(request)) headers.push_back(std::move(header));
    std::string line;
    if (options_.access_log) line = cat(request.peer, " ", printable(request.method), " ", printable(request.path));
    return std::make_shared<detail::DecoratedExchange>(std::move(inner), std::move(headers), std::move(line));
  }

  static bool contains(const std::vector<std::string>& list, const std::string& word) {
    return std::find(list.begin(), list.end(), word) != list.end();
  }
  /// CORS: the origin is echoed only where credentials or a list make "*" wrong.
  HeaderList origin_headers(const HttpRequest& request) const {
    const std::string* origin = request.header("Origin");
    if (!origin) return {};
    const bool any = contains(options_.allowed_origins, "*");
    if (!any && !contains(options_.allowed_origins, *origin)) return {};
    HeaderList out{{"Access-Control-Allow-Origin", any && !options_.allow_credentials ? "*" : *origin}};
    if (!any || options_.allow_credentials) out.push_back({"Vary", "Origin"});
    if (options_.allow_credentials) out.push_back({"Access-Control-Allow-Credentials", "true"});
    return out;
  }
  void preflight(Exchange& exchange, const HttpRequest& request) const {
    const std::string* method = request.header("Access-Control-Request-Method");
    if (!request.header("Origin") || !method) {
      const std::string allow = allowed(request.path);
      if (allow.empty()) return ChatService::send_error(exchange, {404, "Not Found", "Not Found"});
      return exchange.reply({204, {}, {}, {{"Allow", allow + ", OPTIONS"}}});
    }
    if (origin_headers(request).empty())
      return ChatService::send_error(exchange, {400, "BadRequestError", "CORS: this origin is not allowed"});
    const auto joined = [](const std::vector<std::string>& list) {
      std::string out;
      for (const auto& word : list) out += (out.empty() ? "" : ", ") + word;
      return out;
    };
    const std::string* wanted = request.header("Access-Control-Request-Headers");
    const bool any_header = contains(options_.allowed_headers, "*");
    exchange.reply(
        {200,
         {},
         {},
         {{"Access-Control-Allow-Methods",
           contains(options_.allowed_methods, "*") ? "GET, POST, HEAD, OPTIONS" : joined(options_.allowed_methods)},
          {"Access-Control-Allow-Headers", any_header && wanted ? *wanted : joined(options_.allowed_headers)},
          {"Access-Control-Max-Age", "600"}}});
  }

  void health(ExchangePtr exchange, HttpRequest&) const { exchange->reply({200, {}, {}, {}}); }
  void version(ExchangePtr exchange, HttpRequest&) const {
    exchange->reply({200, compact({{"version", options_.version}}), "application/json", {}});
  }
  void chat(ExchangePtr exchange, HttpRequest& request) const {
    check_json(request);
    service_.chat(std::move(exchange), std::move(request));
  }

  void models(ExchangePtr exchange, HttpRequest& request) const {
    Json list = Json::array();
    for (const auto& name : service_.options().served_names) list.push_back(card(name));
    if (request.path == "/v1/models")
      return exchange->reply({200, compact({{"object", "list"}, {"data", list}}), "application/json", {}});
    const std::string wanted = detail::percent_decoded(request.path.substr(one_model.size()));
    service_.check_model(wanted);
    exchange->reply({200, compact(card(wanted)), "application/json", {}});
  }
  Json card(const std::string& name) const {
    return {{"id", name},
            {"object", "model"},
            {"created", created_},
            {"owned_by", "vllm"},  // what clients know such a server by
            {"root", service_.options().root},
            {"parent", nullptr},
            {"max_model_len", service_.max_model_len()},
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

  static void check_json(const HttpRequest& request) {
    const std::string* type = request.header("Content-Type");
    if (!type) return;
    std::string kind = type->substr(0, type->find(';'));
    kind.erase(kind.find_last_not_of(" \t") + 1);
    std::transform(kind.begin(), kind.end(), kind.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (kind != "application/json")
      throw ApiError(400, "Bad Request", "Content-Type: is " + clipped(*type) + ", wanted application/json");
  }

  void tokenize(ExchangePtr exchange, HttpRequest& request) const {
    check_json(request);
    service_.post(exchange, [this, exchange, body = std::move(request.body)] {
      const Json json = parse_body(body, exchange->cancelled());
      const Fields fields(json);
      service_.check_model(fields.text("model"));
      std::vector<int> ids;
      if (const auto prompt = fields.text("prompt"))
        ids = service_.tokenize(*prompt, exchange->cancelled());
      else
        ids = service_.tokenize(read_chat_request(json, service_.limits(), service_.files().defaults),
                                exchange->cancelled());
      Json strings;
      if (fields.flag("return_token_strs")) {
        strings = Json::array();
        for (const int id : ids) strings.push_back(service_.files().tokenizer.decode(std::span(&id, 1)));
      }
      exchange->reply({200,
                       compact({{"count", ids.size()},
                                {"max_model_len", service_.max_model_len()},
                                {"tokens", ids},
                                {"token_strs", strings}}),
                       "application/json",
                       {}});
    });
  }
  void detokenize(ExchangePtr exchange, HttpRequest& request) const {
    check_json(request);
    service_.post(exchange, [this, exchange, body = std::move(request.body)] {
      const Json json = parse_body(body, exchange->cancelled());
      const Fields fields(json);
      service_.check_model(fields.text("model"));
      const Json* list = fields.list("tokens");
      if (!list) throw wrong_field("tokens", "missing", "a list of token ids");
      std::vector<int> ids;
      for (const auto& id : *list) {
        if (!id.is_number_integer() || id < 0 || id >= service_.limits().vocab_size)
          throw wrong_field(cat("tokens.", ids.size()), shown(id),
                            cat("a token id below ", service_.limits().vocab_size));
        ids.push_back(id.get<int>());
      }
      exchange->reply({200, compact({{"prompt", service_.files().tokenizer.decode(ids)}}), "application/json", {}});
    });
  }

  ChatService& service_;
  RouteOptions options_;
  ApiKeys keys_;
  std::int64_t created_;
  std::vector<Route> table_;
};

}  // namespace lamina::serve
