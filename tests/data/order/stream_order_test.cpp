#include "data/support.hpp"
#include "support/catch.hpp"

#include <lamina/data/order/stream_order.hpp>

using namespace lamina;
using namespace lamina::data;
using namespace lamina::data::test;

namespace {

/// The batches of an epoch: the workers' in turn, one that has no more is passed over.
std::vector<std::vector<MixedRow>> stream_batches(const StreamOptions& options, std::int64_t epoch, std::size_t batch) {
  std::vector<StreamLane> lanes;
  for (int worker = 0; worker < options.workers; ++worker) lanes.emplace_back(options, epoch, worker);
  std::vector<std::vector<MixedRow>> batches;
  for (bool any = true; any;) {
    any = false;
    for (StreamLane& lane : lanes) {
      std::vector<MixedRow> rows;
      while (rows.size() < batch)
        if (const auto row = lane.next())
          rows.push_back(*row);
        else
          break;
      if (rows.empty()) continue;
      any = true;
      batches.push_back(rows);
    }
  }
  return batches;
}

}  // namespace

TEST_CASE("stream order: rows come in the order of datasets' buffer and torch's workers, epoch after epoch") {
  std::ifstream file(LAMINA_GOLDEN_DIR "/data/stream_order.json");
  for (const Json& wanted : Json::parse(file)) {
    INFO(wanted["rows"].dump() << " workers " << wanted["workers"]);
    const StreamOptions options{wanted["rows"].get<std::vector<std::int64_t>>(), wanted["workers"].get<int>(),
                                wanted["buffer_size"].get<std::int64_t>(), wanted["seed"].get<std::uint64_t>()};
    for (std::size_t epoch = 0; epoch < wanted["order"].size(); ++epoch) {
      Json ours = Json::array();
      for (const auto& batch : stream_batches(options, static_cast<std::int64_t>(epoch), wanted["batch"])) {
        ours.push_back(Json::array());
        for (const MixedRow& row : batch) ours.back().push_back({row.dataset, row.row});
      }
      CHECK((ours == wanted["order"][epoch]));
    }
  }
}

TEST_CASE("stream order: a data set of fewer rows than workers is refused") {
  CHECK(error_of([] {
          StreamLane({.rows = {9, 2}, .workers = 3}, 0, 0);
        }).find("lower that number") != std::string::npos);
}
