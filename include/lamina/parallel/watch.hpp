#pragma once
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>

#include <lamina/core/log.hpp>
#include <lamina/parallel/tcp/tcp_group.hpp>

namespace lamina::parallel {

/// Notices when another process of the group has ended and then ends this one with a message and status 1, since calls
/// of MPI, NCCL or CUDA that wait for the other process cannot be interrupted. It has connections of its own, on which
/// a process says farewell before it ends: one that closes without a farewell belongs to a process that died.
class Watch {
 public:
  /// advice: the end of the message, which says what the user can do next.
  Watch(Star star, const Place& place, std::string advice)
      : star_(std::move(star)), place_(place), advice_(std::move(advice)), buffers_(star_.size()) {
    for (std::size_t i = 0; i < star_.size(); ++i) {
      sockets_.emplace_back(context_, asio::ip::tcp::v4(), star_[i].socket().release());
      await(i);
    }
    thread_ = std::thread([this] { context_.run(); });
  }
  /// Says farewell. During an exception, which this process reports itself, the farewell says that it fails.
  ~Watch() {
    asio::post(context_, [this, failing = std::uncaught_exceptions() > 0] {
      tell_all(failing ? cat("rank ", place_.rank, " has failed") : farewell);
      context_.stop();
    });
    thread_.join();
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  static constexpr const char* farewell = "bye";
  static constexpr std::size_t most_bytes = 4096;  // of a farewell

  void await(std::size_t i) {
    asio::async_read_until(sockets_[i], asio::dynamic_buffer(buffers_[i], most_bytes), '\n',
                           [this, i](boost::system::error_code error, std::size_t length) {
                             if (error) return died(star_[i].name());
                             const std::string line = buffers_[i].substr(0, length - 1);
                             if (line != farewell) end_after_grace(line);
                           });
  }
  void died(const std::string& name) {
    const std::string what = cat(name, " of ", place_.size, " has ended, or its host is gone");
    log_error(log_name(), ": ", what, ": this process ends too", advice_);
    end_after_grace(what);
  }
  /// Leaves some time to a process that failed by itself, so that it reports why.
  void end_after_grace(const std::string& why) {
    if (ending_) return;
    ending_ = true;
    if (place_.rank == 0) tell_all(why);
    grace_.expires_after(std::chrono::seconds(3));
    grace_.async_wait([this, why](boost::system::error_code error) {
      if (error) return;
      log_error(log_name(), ": ", why, ": this process ends too", advice_);
      std::_Exit(1);
    });
  }
  void tell_all(const std::string& line) {
    boost::system::error_code ignored;  // of processes that have ended
    for (auto& socket : sockets_) asio::write(socket, asio::buffer(line + "\n"), ignored);
  }

  Star star_;
  Place place_;
  std::string advice_;
  asio::io_context context_;
  std::vector<asio::ip::tcp::socket> sockets_;
  std::vector<std::string> buffers_;
  asio::steady_timer grace_{context_};
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace lamina::parallel
