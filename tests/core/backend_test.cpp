#include <lamina/core/backend.hpp>

#include "support/catch.hpp"

using namespace lamina;

TEST_CASE("Stream<Cpu>: work whose token stopped ends before the next named module") {
  std::stop_source source;
  const std::stop_token token = source.get_token();
  const Stream<Cpu> cancellable{&token}, plain;
  int modules = 0;
  const auto run = [&](Stream<Cpu> stream, int stop_after) {
    for (int i = 0; i < 4; ++i) {
      const InModule in(stream, "layer");
      if (++modules == stop_after) source.request_stop();
    }
  };
  run(cancellable, 0);
  CHECK(modules == 4);
  CHECK_THROWS_AS(run(cancellable, 6), Cancelled);
  CHECK(modules == 6);
  run(plain, 0);
  CHECK(modules == 10);
}
