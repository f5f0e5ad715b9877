# lamina::cuda: what the .cuh headers need, nvcc 12.8 or newer. Without it the CPU backend is all there is.
file(GLOB_RECURSE LAMINA_CUH CONFIGURE_DEPENDS include/lamina/*.cuh)
add_library(lamina_cuda INTERFACE)
add_library(lamina::cuda ALIAS lamina_cuda)
set_target_properties(lamina_cuda PROPERTIES EXPORT_NAME cuda)
target_sources(lamina_cuda INTERFACE FILE_SET cuda TYPE HEADERS BASE_DIRS include FILES ${LAMINA_CUH})
target_link_libraries(lamina_cuda INTERFACE lamina)

option(LAMINA_WITH_CUDA "Build the CUDA backend where nvcc is found" ON)
include(CheckLanguage)
check_language(CUDA)
set(LAMINA_CUDA OFF)
if(LAMINA_WITH_CUDA AND CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_ARCHITECTURES OFF)  # spelt below: 90a has instructions that 90 has not
  enable_language(CUDA)
  find_package(CUDAToolkit 12.8)
  set(LAMINA_CUDA ${CUDAToolkit_FOUND})
endif()
if(LAMINA_CUDA)
  if("90" IN_LIST LAMINA_CUDA_ARCH)
    message(FATAL_ERROR "LAMINA_CUDA_ARCH: 90 lacks the instructions of Hopper's kernels; write 90a")
  endif()
  if(CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  foreach(arch IN LISTS LAMINA_CUDA_ARCH)
    list(APPEND LAMINA_GENCODE "-gencode=arch=compute_${arch},code=sm_${arch}")
    set(LAMINA_TEST_ARCH ${arch})  # tests are built for the last one alone
  endforeach()
  # CMake 3.25 knows no C++20 for CUDA 13, so the flag is spelt out. What nvcc would warn of: inlining hints and unrolling
  # that are for the host's compiler alone.
  target_compile_options(lamina_cuda INTERFACE
    "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr;-diag-suppress=554,1675,2189>"
    "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:$<TARGET_PROPERTY:LAMINA_ONE_CUDA_ARCH>>>:-gencode=arch=compute_$<TARGET_PROPERTY:LAMINA_ONE_CUDA_ARCH>,code=sm_$<TARGET_PROPERTY:LAMINA_ONE_CUDA_ARCH>>"
    "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<NOT:$<BOOL:$<TARGET_PROPERTY:LAMINA_ONE_CUDA_ARCH>>>>:${LAMINA_GENCODE}>")
  target_link_libraries(lamina_cuda INTERFACE CUDA::cudart_static CUDA::cublasLt ${CMAKE_DL_LIBS})
else()
  message(STATUS "lamina: no CUDA compiler of version 12.8 or newer, programs run on the CPU alone")
endif()
