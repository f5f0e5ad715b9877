// expect: Module
#include <lamina/lamina.hpp>
using namespace lamina;
/// A composition that takes memory which it does not count.
template <class M>
struct Hoard {
  using composition = Hoard;
  using children = List<M>;
  template <class C>
  using rebuild = Hoard<C>;
  using In = typename M::In;
  using Out = typename M::Out;
  static constexpr Traits traits = M::traits;
  template <std::size_t, class Mode>
  using mode_of = Mode;
  template <class Mode>
  static constexpr Saves saves{};
  template <class Mode>
  using Saved = typename M::template Saved<Mode>;
  template <class Mode>
  static std::size_t row_byte();
  template <class Mode>
  static void allocate(Saved<Mode>&, Arena&, int);
};
struct Model : Named<name::proj, Hoard<Linear<8, 8>>> {};
