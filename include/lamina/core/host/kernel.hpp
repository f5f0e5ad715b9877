#pragma once
#include <string_view>

#include <lamina/core/backend.hpp>

namespace lamina {

/// Runs f() as the kernel of this name, for a layer that has no kernels of its own yet: at once on Cpu, and not at all
/// while a plan is made, when there is no memory behind the matrices.
template <Backend B, class F>
void host_kernel(Stream<B> stream, std::string_view name, F f) {
  if constexpr (requires { stream.launch(name); }) {
    stream.launch(name);
  } else {
    static_assert(std::same_as<B, Cpu>,
                  "host_kernel: plain loops run on the Cpu backend; for another one, write the layer a kernel as in "
                  "lamina/kernel/");
    f();
  }
}

}  // namespace lamina
