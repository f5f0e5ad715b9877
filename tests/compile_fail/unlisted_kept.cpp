// expect: Saved: it has Kept members, so list all its members with BOOST_HANA_DEFINE_STRUCT
#include <lamina/lamina.hpp>
using namespace lamina;
struct Forgetful : RMSNorm<8> {
  template <class Mode>
  struct Saved {
    Matrix<const typename Mode::T> x;
    Kept<1> r;
  };
};
static_assert(saved_row_bytes<Forgetful, Mode<float, true, true>>() == 4);
