#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/options.hpp>
#include <lamina/data/order/mix.hpp>
#include <lamina/data/order/split.hpp>
#include <lamina/data/read/hub_dataset.hpp>
#include <lamina/data/read/row_index.hpp>
#include <lamina/data/read/row_reader.hpp>
#include <lamina/data/report.hpp>
#include <lamina/data/sample/hub_media.hpp>

#include <cstdint>
#include <deque>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lamina::data {

/// Data sets whose rows are read when they are asked for.
class RowStore {
 public:
  /// Reads all files once, for their records' places; wrong records go to the report. The options outlive the store.
  RowStore(std::vector<DatasetInfo> infos, const DataOptions& options, DatasetReport& report)
      : infos_(std::move(infos)), options_(options) {
    for (const DatasetInfo& info : infos_) open(info, sets_.emplace_back(), report);
  }

  /// Rows of each data set.
  std::vector<std::int64_t> rows() const {
    std::vector<std::int64_t> counts;
    for (const Set& set : sets_) counts.push_back(std::ssize(set.rows));
    return counts;
  }

  /// These rows. Of a hub's data set the images and videos that they name are fetched.
  std::vector<detail::RegisteredRow> read(const std::vector<MixedRow>& wanted) {
    std::vector<detail::RegisteredRow> out;
    for (std::size_t number = 0; number < sets_.size(); ++number) fetch_media_of(wanted, static_cast<int>(number));
    for (const MixedRow& pick : wanted) {
      Set& set = sets_[static_cast<std::size_t>(pick.dataset)];
      Row row = set.fetched.empty() ? row_of(set, pick.row) : std::move(set.fetched.front());
      if (!set.fetched.empty()) set.fetched.pop_front();
      out.push_back({std::move(row), &infos_[static_cast<std::size_t>(pick.dataset)]});
    }
    return out;
  }

 private:
  struct Set {
    std::optional<HubFiles> hub;
    std::vector<RowIndex> files;
    std::vector<int> rows;    // those that "split" takes, counted through the files
    std::deque<Row> fetched;  // with their media, in the order in which read() hands them out
  };

  void open(const DatasetInfo& info, Set& set, DatasetReport& report) const {
    require_stage(info, options_.stage);
    if (info.hub) set.hub.emplace(*info.hub, options_.hub);
    detail::SeenColumns columns;
    std::vector<WrongRow> wrong;
    for (const auto& file : set.hub ? fetch_records(*set.hub, hub_split(*info.hub, info.split).first)
                                    : record_files(options_.dataset_dir / info.file_name))
      set.files.emplace_back(file, columns, wrong);
    for (const WrongRow& row : wrong) report.wrong(row.origin, row.message);
    if (!options_.skip_bad_samples) report.refuse_wrong();
    std::int64_t count = 0;
    for (const RowIndex& file : set.files) count += file.size();
    if (count == 0) fail("dataset ", info.name, ": its files hold no record");
    check_columns_exist(columns, info);
    set.rows = split_slice(info.hub ? hub_split(*info.hub, info.split).second : info.split, static_cast<int>(count));
  }

  static Row row_of(const Set& set, int number) {
    std::int64_t at = set.rows[static_cast<std::size_t>(number)];
    auto file = set.files.begin();
    for (; at >= file->size(); ++file) at -= file->size();
    return file->row(at);
  }

  void fetch_media_of(const std::vector<MixedRow>& wanted, int number) {
    Set& set = sets_[static_cast<std::size_t>(number)];
    if (!set.hub) return;
    std::vector<Row> rows;
    for (const MixedRow& pick : wanted)
      if (pick.dataset == number) rows.push_back(row_of(set, pick.row));
    const Columns& columns = infos_[static_cast<std::size_t>(number)].columns;
    for (const auto& column : {columns.images, columns.videos})
      fetch_media(*set.hub, rows, column, options_.media_folder(), options_.skip_bad_samples);
    set.fetched.assign(std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()));
  }

  std::vector<DatasetInfo> infos_;
  const DataOptions& options_;
  std::deque<Set> sets_;
};

}  // namespace lamina::data
