// The page of lamina-train --watch, in a unit of its own: the trainer's sees nothing of HTTP.
#include <lamina/serve/run_page.hpp>

namespace lamina::train {

std::unique_ptr<RunPage> open_run_page(const std::filesystem::path& folder, const PageAddress& address,
                                       PageSignals signals) {
  return std::make_unique<serve::ServedRunPage>(folder, address, signals);
}

}  // namespace lamina::train
