#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/core/machine/resources.hpp>
#include <lamina/core/threads/cancelled.hpp>
#include <lamina/engine/statistics.hpp>
#include <lamina/serve/http/transport.hpp>
#include <lamina/serve/jobs/task_queue.hpp>
#include <lamina/serve/openai/api_error.hpp>

namespace lamina::serve {

/// Stops as soon as one of two tokens does.
class Either {
 public:
  Either(std::stop_token a, std::stop_token b) : a_(std::move(a), Stop{source_}), b_(std::move(b), Stop{source_}) {}
  std::stop_token token() const { return source_.get_token(); }

 private:
  struct Stop {
    std::stop_source source;
    void operator()() { source.request_stop(); }
  };
  std::stop_source source_;
  std::stop_callback<Stop> a_, b_;
};

/// A request that was admitted. It is counted as long as its ticket is held.
struct Guest {
  std::shared_ptr<Exchange> exchange;
  std::shared_ptr<void> ticket;
  engine::RequestTimes::Clock::time_point arrived = engine::RequestTimes::Clock::now();
};

/// How many requests are here, and the threads that prepare them. Requests with images or long texts are prepared by
/// other threads than short ones, which never wait for them there, and those that wait for servers of images by others
/// again.
class Admission {
 public:
  /// max_requests: waiting and running; more get status 503.
  explicit Admission(int max_requests) : max_requests_(max_requests) {}

  /// False once drain() was called.
  bool admits() const { return !draining_.stop_requested(); }
  /// Requests that are waiting or running.
  int load() const { return load_; }
  /// Requests that come from now on or wait for preparation get 503; preparation is given up.
  void drain() {
    draining_.request_stop();
    short_.drop_waiting();
    slow_.drop_waiting();
    fetching_.drop_waiting();
  }
  /// Returns when nothing is prepared any more.
  void stop() {
    short_.stop();
    slow_.stop();
    fetching_.stop();
  }

  /// Takes a request in; nothing, and 503 was sent, if there is no place.
  std::optional<Guest> admit(std::shared_ptr<Exchange> exchange) {
    if (!admits()) return exchange->reply(busy_reply(leaving_message)), std::nullopt;
    if (++load_ <= max_requests_) return Guest{std::move(exchange), {&load_, [](std::atomic<int>* load) { --*load; }}};
    --load_;
    return exchange->reply(busy_reply("too many requests are waiting; try again")), std::nullopt;
  }

  /// Texts of such bodies are too short to need memory of the budget (see PromptMaker), even if they grow fourfold when
  /// tools are written out.
  static bool is_short(const HttpRequest& request) { return request.body.text().size() <= std::size_t{256} << 10; }
  /// Work on a request before its answer begins. It should look at the token, and throws Cancelled or ApiError.
  using Preparation = std::function<void(const std::stop_token& cancelled)>;
  /// Runs `work` off the network threads, by the size of the request.
  void prepare(const HttpRequest& request, Guest guest, Preparation work) {
    if (!is_short(request)) return prepare_slowly(request, std::move(guest), std::move(work));
    add(short_, {}, std::move(guest), std::move(work));
  }
  /// As prepare(), on the threads for requests with images or long texts; the clients take turns.
  void prepare_slowly(const HttpRequest& request, Guest guest, Preparation work) {
    add(slow_, request.client, std::move(guest), std::move(work));
  }
  /// As prepare(), for work that waits for servers elsewhere.
  void prepare_fetching(const HttpRequest& request, Guest guest, Preparation work) {
    add(fetching_, request.client, std::move(guest), std::move(work));
  }

  /// Runs f; an exception becomes the answer, through `send`.
  template <class F, class Send>
  void guard(const F& f, const Send& send) const {
    const auto send_error = [&](const ApiError& e) { send(e.status == 503 ? busy_reply(e.what()) : error_reply(e)); };
    try {
      f();
    } catch (const ApiError& e) {
      send_error(e);
    } catch (const Cancelled&) {
      if (draining_.stop_requested()) send(busy_reply(leaving_message));  // else the client has gone
    } catch (const std::bad_alloc&) {
      send_error({500, "InternalServerError", "out of memory"});
    } catch (const std::exception& e) {
      send_error({500, "InternalServerError", clipped(e.what(), 400)});
    }
  }

 private:
  void add(TaskQueue& queue, std::string client, Guest guest, Preparation work) {
    queue.add({.run =
                   [this, guest, work = std::move(work)] {
                     const Either either(guest.exchange->cancelled(), draining_.get_token());
                     guard(
                         [&] {
                           throw_if_stopped(either.token());
                           work(either.token());
                         },
                         [&](const HttpReply& reply) { guest.exchange->reply(reply); });
                   },
               .drop = [guest] { guest.exchange->reply(busy_reply(leaving_message)); },
               .client = std::move(client)});
  }

  int max_requests_;
  std::atomic<int> load_{0};
  std::stop_source draining_;
  TaskQueue short_{2};  // requests that wait for no others
  // Half of the processors, so that a GPU does not wait for one.
  TaskQueue slow_{std::clamp(available_processors() / 2, 2, 16)};
  TaskQueue fetching_{16};  // they mostly wait
};

}  // namespace lamina::serve
