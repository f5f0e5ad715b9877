#pragma once
#include <lamina/data/dataset.hpp>
#include <lamina/data/options.hpp>
#include <lamina/data/order/stream_order.hpp>
#include <lamina/data/read/row_store.hpp>
#include <lamina/data/report.hpp>
#include <lamina/data/sample/encoded_sample.hpp>
#include <lamina/text/tokenizer.hpp>
#include <lamina/vision/processor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace lamina::data {

/// Samples that are read, encoded and packed while they are used, epoch after epoch, in LLaMA-Factory's streamed order.
/// Held are the numbers of buffer_size rows and the samples of preprocessing_batch_size rows, for each worker, and the
/// places of all records in their files.
///
/// Rows that val_size holds out are never trained on. LLaMA-Factory leaves out the first rows of each epoch's own
/// order, and so trains on rows that it evaluates from the second epoch on.
class SampleStream {
 public:
  /// `options`, the tokenizer and the processor outlive the stream.
  SampleStream(const DataOptions& options, const text::Tokenizer& tokenizer, const vision::Processor& processor)
      : options_(one_worker(options)), encoder_(detail::make_encoder(options, tokenizer, processor)) {
    std::vector<DatasetInfo> infos = detail::find_all(Registry::load(options.dataset_dir), options.dataset);
    add_notes(detail::registry_notes(infos, {}));
    for (const DatasetInfo& info : infos)
      if (info.num_samples)
        add_notes({cat("dataset ", info.name, ": num_samples has no effect with streaming (as in LLaMA-Factory)")});
    DatasetReport report;
    store_.emplace(std::move(infos), options_, report);
    add_notes(report.notes());
    order_ = {.rows = store_->rows(),
              .workers = options.stream_workers,
              .buffer_size = options.buffer_size,
              .seed = options.seed};
    begin_epoch(0);
  }

  /// Encodes the rows that val_size holds out, the first of each worker, into `out`. Called once, before any batch.
  void hold_out(Datasets& out) {
    std::vector<MixedRow> rows;
    const auto count = static_cast<std::int64_t>(options_.val_size), workers = std::int64_t{order_.workers};
    for (std::int64_t w = 0; w < workers; ++w) {
      const std::int64_t share = count / workers + (w < count % workers);
      StreamLane& lane = lanes_[static_cast<std::size_t>(w)].rows;
      for (std::int64_t i = 0; i < share; ++i)
        if (const auto row = lane.next()) rows.push_back(*row);
    }
    for (const MixedRow& row : rows) held_out_.insert({row.dataset, row.row});
    const std::vector<detail::RegisteredRow> sources = store_->read(rows);
    DatasetReport report;
    detail::add_evaluation("", detail::all_of(sources), options_, encoder_, report, out);
    add_notes(detail::leave_out_broken_media(options_, report, out));
    for (EvalSet& set : out.eval) set.samples = detail::packed(options_, std::move(set.samples));
    if (!options_.skip_bad_samples) report.refuse_wrong();
    add_notes(report.notes());
    begin_epoch(0);
  }

  /// Goes back to the first epoch.
  void restart() { begin_epoch(0); }

  /// At most `size` samples, of the workers in turn; none at the end of an epoch, after which another begins. With
  /// drop_last a worker's last samples are left out if they are fewer.
  std::vector<EncodedSample> batch(std::size_t size, bool drop_last) {
    for (std::size_t tried = 0; tried < lanes_.size(); ++tried) {
      Lane& lane = lanes_[turn_];
      turn_ = (turn_ + 1) % lanes_.size();
      while (lane.samples.size() < size && !lane.ended) fill(lane);
      if (lane.samples.empty() || (drop_last && lane.samples.size() < size)) continue;
      const auto end = lane.samples.begin() + static_cast<std::ptrdiff_t>(std::min(size, lane.samples.size()));
      std::vector<EncodedSample> out(std::make_move_iterator(lane.samples.begin()), std::make_move_iterator(end));
      lane.samples.erase(lane.samples.begin(), end);
      any_ = true;
      return out;
    }
    if (!any_)
      fail("streaming: no valid sample is left to train on",
           drop_last ? ", or none of the workers fills a batch (dataloader_drop_last)" : "", in_lines(notes_));
    begin_epoch(epoch_ + 1);
    return {};
  }

  std::int64_t epoch() const { return epoch_; }
  /// Messages for the user since the last call.
  std::vector<std::string> take_notes() { return std::exchange(notes_, {}); }

 private:
  /// A worker's rows, and those of its samples that are not yet taken.
  struct Lane {
    StreamLane rows;
    std::deque<EncodedSample> samples;
    bool ended = false;
  };

  static DataOptions one_worker(DataOptions options) {
    options.preprocessing_num_workers = 1;
    return options;
  }
  static std::string in_lines(const std::vector<std::string>& texts) {
    std::string out;
    for (const std::string& text : texts) out += "\n" + text;
    return out;
  }

  void begin_epoch(std::int64_t epoch) {
    epoch_ = epoch, turn_ = 0, any_ = false;
    lanes_.clear();
    for (int worker = 0; worker < order_.workers; ++worker) lanes_.push_back({StreamLane(order_, epoch, worker), {}});
  }

  /// Encodes the next preprocessing_batch_size rows of a lane.
  void fill(Lane& lane) {
    std::vector<MixedRow> rows;
    while (std::ssize(rows) < options_.preprocessing_batch_size) {
      const auto row = lane.rows.next();
      if (!row) break;
      if (!held_out_.contains({row->dataset, row->row})) rows.push_back(*row);
    }
    lane.ended = std::ssize(rows) < options_.preprocessing_batch_size;
    const std::vector<detail::RegisteredRow> sources = store_->read(rows);
    DatasetReport report;
    Datasets found;
    found.train =
        detail::encoded(detail::all_of(sources), options_, encoder_, detail::encode_of(options_.stage), report);
    if (options_.skip_bad_samples) add_notes(detail::leave_out_broken_media(options_, report, found));
    if (!options_.skip_bad_samples) report.refuse_wrong();
    add_notes(report.notes());
    for (EncodedSample& sample : detail::packed(options_, std::move(found.train)))
      lane.samples.push_back(std::move(sample));
  }

  /// Later epochs have the same records.
  void add_notes(const std::vector<std::string>& notes) {
    if (epoch_ == 0) notes_.insert(notes_.end(), notes.begin(), notes.end());
  }

  const DataOptions options_;
  Encoder encoder_;
  std::optional<RowStore> store_;
  StreamOptions order_;
  std::int64_t epoch_ = 0;
  std::size_t turn_ = 0;  // the lane that is next
  bool any_ = false;      // a batch of this epoch was taken
  std::vector<Lane> lanes_;
  std::set<std::pair<int, int>> held_out_;  // data set and row
  std::vector<std::string> notes_;
};

/// A stream of `dataset`, and what is evaluated in `out`: `eval_dataset`, which is read whole, or the rows of val_size.
inline std::unique_ptr<SampleStream> open_stream(const DataOptions& options, const text::Tokenizer& tokenizer,
                                                 const vision::Processor& processor, Datasets& out) {
  if (!options.eval_dataset.empty()) {
    DataOptions evaluated = options;
    evaluated.dataset.clear(), evaluated.val_size = 0;
    out = load_datasets(evaluated, tokenizer, processor);
  }
  if (options.dataset.empty()) return nullptr;
  auto stream = std::make_unique<SampleStream>(options, tokenizer, processor);
  if (options.val_size > 0) stream->hold_out(out);
  for (std::string& note : stream->take_notes()) out.notes.push_back(std::move(note));
  return stream;
}

}  // namespace lamina::data
