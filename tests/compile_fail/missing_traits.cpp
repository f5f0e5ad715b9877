// expect: Module
#include <lamina/lamina.hpp>
using namespace lamina;
LAMINA_NAME(norm1);
/// A layer whose facts are spelt as nobody asks for them.
struct Quiet {
  using In = Shape<Dyn, 8>;
  using Out = Shape<Dyn, 8>;
  using params = ParamList<>;
  static constexpr Traits trait{};
  template <class Mode>
  static constexpr Saves saves{};
  template <class Mode>
  struct Saved {};
};
struct Model : Chain<Named<norm1, RMSNorm<8>>, Named<name::proj, Quiet>> {};
