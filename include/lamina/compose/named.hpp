#pragma once
#include <lamina/core/run.hpp>

namespace lamina {

/// M under a component of the checkpoint's names: Named<q_proj, Linear<...>> owns "<path>.q_proj.weight".
template <class Tag, Module M>
struct Named {
  using composition = Named;
  using tag = Tag;
  using module = M;
  using children = List<M>;
  template <Module C>
  using rebuild = Named<Tag, C>;
  using In = typename M::In;
  using Out = typename M::Out;
  static constexpr bool learns = M::learns;
  static constexpr int row_divisor = row_divisor_of<M>();
  static constexpr int input_tail = input_tail_of<M>(), gradient_tail = gradient_tail_of<M>();
  static constexpr bool strided_y = lamina::strided_y<M>(), strided_dx = lamina::strided_dx<M>();

  template <class Mode>
  using Saved = typename M::template Saved<Mode>;
  template <class Mode>
  static constexpr bool saves_input = M::template saves_input<Mode>;
  template <class Mode>
  static constexpr bool saves_output = output_stays<M, Mode>();
  template <class Mode>
  static constexpr std::size_t row_bytes() {
    return saved_row_bytes<M, Mode>();
  }
  template <class Mode>
  static void allocate(Saved<Mode>& saved, Arena& arena, int rows) {
    allocate_saved<M, Mode>(saved, arena, rows);
  }

  template <class R, class S, class X, class Y>
  static void forward(R run, const Parameter* p, S& saved, X x, Y y) {
    run.stream.enter(Tag::text);
    M::forward(run, p, saved, x, y);
    run.stream.leave();
  }
  template <class R, class S, class DY, class DX>
  static void backward(R run, const Parameter* p, S& saved, DY dy, DX dx) {
    run.stream.enter(Tag::text);
    M::backward(run, p, saved, dy, dx);
    run.stream.leave();
  }
};

}  // namespace lamina
