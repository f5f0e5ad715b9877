// expect: strided
#include <lamina/lamina.hpp>
using namespace lamina;
struct Wide : Linear<8, 8> {
  static constexpr Traits traits{.learns = true, .strided_rows = true};
};
