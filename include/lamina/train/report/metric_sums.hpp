#pragma once
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/io/json/fields.hpp>
#include <lamina/model/train_session.hpp>
#include <lamina/parallel/group.hpp>
#include <lamina/train/report/log.hpp>

namespace lamina::train {

/// What an objective measured over several batches, by name, in the order of the first one.
class MetricSums {
 public:
  void add(const std::vector<Metric>& metrics) {
    for (const Metric& m : metrics) add(std::string(m.name), m.sum, m.weight);
  }
  /// Adds the means to a log entry, their names behind `prefix`; what nothing weighs for has none.
  void write_to(OrderedJson& entry, const std::string& prefix = "") const {
    for (const Sum& s : sums_)
      if (s.weight != 0) entry[prefix + s.name] = s.sum / s.weight;
    const std::string chosen = prefix + "rewards/chosen", rejected = prefix + "rewards/rejected";
    if (entry.contains(chosen) && entry.contains(rejected) && !entry.contains(prefix + "rewards/margins"))
      entry[prefix + "rewards/margins"] = entry[chosen].get<double>() - entry[rejected].get<double>();
  }
  /// {name: [sum, weight]}
  OrderedJson to_json() const {
    OrderedJson all = OrderedJson::object();
    for (const Sum& s : sums_) all[s.name] = {s.sum, s.weight};
    return all;
  }
  /// Error, by the subject's words, unless it is what to_json() writes.
  void read(const nlohmann::json& all, const std::string& subject) {
    for (const auto& [name, pair] : all.items()) {
      if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_number())
        fail(subject, ": ", name, " is ", pair.dump(), ", wanted [sum, weight]");
      add(name, pair[0].get<double>(), pair[1].get<double>());
    }
  }

  /// Makes them those of all ranks, of which some may have none.
  void share(parallel::Group& group) {
    const std::string own = std::exchange(*this, {}).to_json().dump();
    for (const std::string& sums : group.all_gather(own)) read(nlohmann::json::parse(sums), "metrics of a rank");
  }

 private:
  struct Sum {
    std::string name;
    double sum = 0, weight = 0;
  };
  void add(const std::string& name, double sum, double weight) {
    for (Sum& s : sums_)
      if (s.name == name) {
        s.sum += sum, s.weight += weight;
        return;
      }
    sums_.push_back({name, sum, weight});
  }

  std::vector<Sum> sums_;
};

/// Makes the metrics of a batch those of all ranks.
inline void share_metrics(std::vector<Metric>& metrics, parallel::Group& group) {
  if (metrics.empty()) return;
  std::vector<double> sums;
  for (const Metric& m : metrics) sums.insert(sums.end(), {m.sum, m.weight});
  group.all_reduce(std::span<double>(sums));
  for (std::size_t i = 0; i < metrics.size(); ++i) metrics[i].sum = sums[2 * i], metrics[i].weight = sums[2 * i + 1];
}

}  // namespace lamina::train
