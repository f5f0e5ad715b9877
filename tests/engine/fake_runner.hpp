#pragma once
#include <lamina/core/error.hpp>
#include <lamina/engine/schedule/scheduler.hpp>

#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

/// A runner without a model: the "keys and values" of a token are a digest of everything before it, so every page that
/// is shared, overwritten or read too early shows as a wrong digest. The next token is a function of that digest. It
/// may run in a thread of its own, where Catch2 must not be used: a plan that is wrong is a std::logic_error.
namespace lamina::engine {

using Digest = std::uint64_t;

inline Digest mixed(Digest h, std::uint64_t value) {
  h = (h ^ value) * 0x9e3779b97f4a7c15ull;
  return h ^ h >> 31;
}

/// The digest after token `i` of a request whose tokens are `tokens`, given the one before it.
inline Digest following(Digest before, const Request& request, const std::vector<int>& tokens, int i) {
  Digest h = mixed(before, static_cast<std::uint64_t>(tokens[static_cast<std::size_t>(i)]) + 1);
  for (const ImageSpan& image : request.images)
    if (i >= image.first && i < image.first + image.tokens)
      for (const std::uint8_t byte : image.hash) h = mixed(h, byte);
  return h;
}
inline Digest start_of(const Request& request) {
  Digest h = 17;
  for (const char c : request.scope) h = mixed(h, static_cast<std::uint8_t>(c));
  return h;
}
inline int token_after(Digest digest) { return static_cast<int>(digest % 1000); }

/// The answer that a request gets with nobody beside it.
inline std::vector<int> lone_answer(const Request& request, int context_tokens) {
  std::vector<int> tokens = request.tokens, answer;
  Digest digest = start_of(request);
  for (int i = 0; static_cast<int>(answer.size()) < request.max_tokens && i < context_tokens - 1; ++i) {
    digest = following(digest, request, tokens, i);
    if (i + 1 < static_cast<int>(tokens.size())) continue;
    answer.push_back(token_after(digest));
    tokens.push_back(answer.back());
  }
  return answer;
}

class FakeRunner {
 public:
  explicit FakeRunner(const SchedulerLimits& limits) : limits_(limits) {}

  void knows(const Request& request) { requests_[request.id] = request; }
  /// A request whose logits are not finite from its next token on.
  void poison(RequestId id) { poisoned_.insert(id); }

  StepChoices run(const StepPlan& plan, const ImageRows& images) {
    images_ = &images;
    step_ = plan.number;
    expect(plan.tokens <= limits_.step_tokens, "too many tokens");
    for (const RowStart& start : plan.starts) rows_[start.row] = {start.id, start.tokens, {}};
    for (const PageEdit& edit : plan.pages) {
      auto& table = rows_.at(edit.row).table;
      expect(edit.index == static_cast<int>(table.size()), "a page table has a gap");
      table.push_back(edit.page);
    }
    for (const ImageEncode& encode : plan.images) {
      ++encoded;
      for (const int block : images_->blocks(encode.image.hash)) blocks_[block] = encode.image.hash;
    }
    // As in a model's layer: all rows write their keys and values, then all read.
    for (const StepRow& row : plan.rows) write(row);
    StepChoices result{.number = plan.number, .chosen = {}};
    int tokens = 0;
    bool chunks = false;
    for (const StepRow& row : plan.rows) {
      tokens += row.count;
      const bool single = row.decodes();
      expect(!single || !chunks, "a single token behind a chunk");
      chunks = chunks || !single;
      const Digest last = read(row);
      if (!row.samples) continue;
      Row& sequence = rows_.at(row.row);
      const int token = poisoned_.count(row.id) ? -1 : token_after(last);
      sequence.tokens.push_back(token);
      result.chosen.push_back({row.id, token});
    }
    expect(tokens == plan.tokens, "tokens are counted wrong");
    return result;
  }

  int encoded = 0;  ///< images so far

 private:
  struct Row {
    RequestId id = 0;
    std::vector<int> tokens;
    std::vector<int> table;
  };
  void expect(bool holds, const char* otherwise) const {
    if (!holds) throw std::logic_error(cat("step ", step_, ": ", otherwise));
  }
  Digest& slot(const Row& sequence, int i) {
    const auto page = static_cast<std::size_t>(i / limits_.page_tokens);
    expect(page < sequence.table.size(), "a token without a page");
    return slots_[{sequence.table[page], i % limits_.page_tokens}];
  }
  void write(const StepRow& row) {
    Row& sequence = rows_.at(row.row);
    const int end = row.first + row.count, known = static_cast<int>(sequence.tokens.size());
    expect(sequence.id == row.id, "another request's row");
    expect(end <= known, "tokens that are not known");
    expect(row.samples == (end == known), "a token is drawn too early, or not at all");
    const Request& request = requests_.at(row.id);
    for (const ImageSpan& image : request.images)
      if (image.first < end && image.first + image.tokens > row.first)
        for (const int block : images_->blocks(image.hash))
          expect(blocks_.at(block) == image.hash, "rows of another image");
    Digest digest = start_of(request);
    for (int i = 0; i < end; ++i) {
      digest = following(digest, request, sequence.tokens, i);
      if (i >= row.first) slot(sequence, i) = digest;
    }
  }
  Digest read(const StepRow& row) {
    Row& sequence = rows_.at(row.row);
    Digest digest = start_of(requests_.at(row.id));
    for (int i = 0; i < row.first + row.count; ++i) {
      digest = following(digest, requests_.at(row.id), sequence.tokens, i);
      if (limits_.window == 0 || i > row.first - limits_.window)
        expect(slot(sequence, i) == digest, "keys and values of other tokens");
    }
    return digest;
  }

  SchedulerLimits limits_;
  std::uint64_t step_ = 0;
  const ImageRows* images_ = nullptr;
  std::map<RequestId, Request> requests_;
  std::map<int, Row> rows_;
  std::map<std::pair<int, int>, Digest> slots_;
  std::map<int, ImageHash> blocks_;
  std::set<RequestId> poisoned_;
};

}  // namespace lamina::engine
