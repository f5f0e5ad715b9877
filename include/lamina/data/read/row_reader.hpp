#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/options.hpp>
#include <lamina/data/order/mix.hpp>
#include <lamina/data/order/split.hpp>
#include <lamina/data/read/hub_dataset.hpp>
#include <lamina/data/read/records.hpp>
#include <lamina/data/read/registry.hpp>
#include <lamina/data/read/rows.hpp>
#include <lamina/data/report.hpp>
#include <lamina/data/sample/hub_media.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lamina::data::detail {

/// A record with its entry in the registry.
struct RegisteredRow {
  Row row;
  const DatasetInfo* info;
};

/// The rows with these numbers.
inline std::vector<Row> picked(const std::vector<Row>& rows, const std::vector<int>& numbers) {
  std::vector<Row> out;
  for (const int number : numbers) out.push_back(rows[static_cast<std::size_t>(number)]);
  return out;
}

/// Reads the rows that data sets train or evaluate with. The generator is that of num_samples: it goes on from entry to
/// entry, as in a run of LLaMA-Factory.
class RowReader {
 public:
  RowReader(const DataOptions& options, DatasetReport& report) : options_(options), report_(report) {}

  /// The rows of one entry: its split, num_samples of them at random, then the first max_samples.
  std::vector<Row> rows_of(const DatasetInfo& info) {
    require_stage(info, options_.stage);
    std::optional<HubFiles> hub;
    if (info.hub) hub.emplace(*info.hub, options_.hub);
    std::vector<Row> rows = read(info, hub);
    check_columns_exist(columns_of(rows), info);
    const int count = static_cast<int>(rows.size());
    try {
      const std::string split = info.hub ? hub_split(*info.hub, info.split).second : info.split;
      if (split != "train") rows = picked(rows, split_slice(split, count));
    } catch (const Error& error) {
      fail("dataset ", info.name, ": \"split\" in dataset_info.json: ", error.what());
    }
    if (info.num_samples) rows = picked(rows, sample_rows(static_cast<int>(rows.size()), *info.num_samples, random()));
    if (options_.max_samples && static_cast<std::int64_t>(rows.size()) > *options_.max_samples) {
      rows.resize(static_cast<std::size_t>(*options_.max_samples));
    }
    if (hub)
      for (const auto& column : {info.columns.images, info.columns.videos})
        fetch_media(*hub, rows, column, options_.media_folder(), options_.skip_bad_samples);
    return rows;
  }

 private:
  /// All rows that can be read; wrong ones go to the report.
  std::vector<Row> read(const DatasetInfo& info, std::optional<HubFiles>& hub) {
    const std::string place = info.hub ? info.hub->name : (options_.dataset_dir / info.file_name).string();
    FileRows file = hub ? read_rows(fetch_records(*hub, hub_split(*info.hub, info.split).first))
                        : read_rows(options_.dataset_dir / info.file_name);
    for (const WrongRow& row : file.wrong) report_.wrong(row.origin, row.message);
    if (!options_.skip_bad_samples && !file.wrong.empty()) report_.refuse_wrong();
    const std::string why = report_.text();
    if (file.rows.empty()) fail("dataset ", info.name, ": ", place, " holds no record", why.empty() ? "" : "\n" + why);
    return std::move(file.rows);
  }
  NumpyRandomState& random() {
    if (!random_) random_.emplace(options_.seed);
    return *random_;
  }

  const DataOptions& options_;
  DatasetReport& report_;
  std::optional<NumpyRandomState> random_;
};

/// Merges the named data sets; the entries are kept alive by `infos`.
inline std::vector<RegisteredRow> merged(const std::vector<const DatasetInfo*>& infos, const DataOptions& options,
                                         RowReader& reader) {
  std::vector<std::vector<Row>> rows;
  std::vector<int> lengths;
  for (const DatasetInfo* info : infos) {
    rows.push_back(reader.rows_of(*info));
    lengths.push_back(static_cast<int>(rows.back().size()));
  }
  std::vector<RegisteredRow> sources;
  const MixStrategy strategy = mix_strategy_named(options.mix_strategy);
  for (const MixedRow pick : mix(strategy, lengths, options.interleave_probs, options.seed)) {
    sources.push_back({rows[pick.dataset][pick.row], infos[pick.dataset]});
  }
  return sources;
}

}  // namespace lamina::data::detail
