#pragma once
#include <lamina/core/error.hpp>
#include <lamina/io/nearest_word.hpp>

#include <string>
#include <utility>
#include <vector>

namespace lamina::data {

/// Collects the reasons of records that make no sample, and reports them once, by reason and with row numbers.
class DatasetReport {
 public:
  /// A record that is left out, as LLaMA-Factory does, with a reason that is equal for equal cases.
  void drop(const std::string& origin, const std::string& reason) { add(dropped_, origin, reason); }
  /// A record that is an error unless wrong records are to be skipped.
  void wrong(const std::string& origin, const std::string& message) {
    const bool named = message.starts_with(origin);  // some messages begin with the origin themselves
    wrong_.push_back(named ? message : origin + ": " + message);
  }

  /// Fails with every wrong record, if there is one.
  void refuse_wrong() const {
    if (wrong_.empty()) return;
    fail("dataset: ", wrong_.size(), wrong_.size() == 1 ? " record is" : " records are", " wrong:", wrong_lines(),
         "\ncorrect them, or leave them out with skip_bad_samples: true");
  }

  /// One line a reason, for the user.
  std::vector<std::string> notes() const {
    std::vector<std::string> lines;
    for (const auto& [reason, origins] : dropped_) {
      lines.push_back(cat("dropped ", origins.size(), origins.size() == 1 ? " record" : " records", " (", reason,
                          "): ", io::listed(origins, 10)));
    }
    if (!wrong_.empty()) lines.push_back(cat("skipped ", wrong_.size(), " wrong record(s):", wrong_lines()));
    return lines;
  }
  std::string text() const {
    std::string out;
    for (const std::string& line : notes()) out += (out.empty() ? "" : "\n") + line;
    return out;
  }

 private:
  using Reasons = std::vector<std::pair<std::string, std::vector<std::string>>>;
  static void add(Reasons& reasons, const std::string& origin, const std::string& reason) {
    for (auto& [known, origins] : reasons) {
      if (known == reason) return origins.push_back(origin);
    }
    reasons.push_back({reason, {origin}});
  }
  std::string wrong_lines() const {
    std::string out;
    for (std::size_t i = 0; i < wrong_.size() && i < 20; ++i) out += "\n  " + wrong_[i];
    if (wrong_.size() > 20) out += cat("\n  ... and ", wrong_.size() - 20, " more");
    return out;
  }

  Reasons dropped_;  // in the order of their first record
  std::vector<std::string> wrong_;
};

}  // namespace lamina::data
