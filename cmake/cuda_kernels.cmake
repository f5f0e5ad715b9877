# The CUDA kernels for every element type, a unit for each header that kernel/operations.hpp names, so that they build side
# by side and models are plain C++.
if(NOT DEFINED LAMINA_INCLUDE_DIR)
  set(LAMINA_INCLUDE_DIR ${CMAKE_CURRENT_LIST_DIR}/../include)  # not yet installed
endif()

# Writes the units into a folder.
function(lamina_write_cuda_units folder result)
  set(list ${LAMINA_INCLUDE_DIR}/lamina/kernel/operations.hpp)
  file(STRINGS ${list} lines REGEX "^ +OPERATION\\(")
  string(REGEX MATCHALL "OPERATION\\([A-Za-z0-9_]+, [A-Za-z0-9_/]+\\)" operations "${lines}")
  set(headers device/device)  # GPUs and their memory: no operation
  foreach(operation IN LISTS operations)
    string(REGEX MATCH "\\((.*), (.*)\\)" matched "${operation}")
    list(APPEND headers ${CMAKE_MATCH_2})
    string(APPEND kernels_${CMAKE_MATCH_2} "LAMINA_CUDA_KERNELS(${CMAKE_MATCH_1});\n")
  endforeach()
  list(REMOVE_DUPLICATES headers)
  set(units ${folder}/nccl_group.cu)
  file(CONFIGURE OUTPUT ${folder}/nccl_group.cu CONTENT "#include <lamina/kernel/cuda/ranks/nccl_group.cuh>\n")
  foreach(header IN LISTS headers)
    get_filename_component(name ${header} NAME)
    file(CONFIGURE OUTPUT ${folder}/${name}.cu CONTENT "#include <lamina/kernel/cuda/${header}.cuh>
#include <lamina/kernel/operations.hpp>

${kernels_${header}}")
    list(APPEND units ${folder}/${name}.cu)
  endforeach()
  set(${result} ${units} PARENT_SCOPE)
  if(NOT CMAKE_SCRIPT_MODE_FILE)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${list})
  endif()
endfunction()

# The library lamina_cuda_kernels. An installed package may bring it compiled, as lamina::cuda_kernels.
function(lamina_add_cuda_kernels)
  if(TARGET lamina::cuda_kernels)
    return()
  endif()
  if(NOT CMAKE_CUDA_COMPILER)
    message(FATAL_ERROR "lamina_add_models: CUDA wants enable_language(CUDA), with nvcc 12.8 or newer, before it")
  endif()
  lamina_write_cuda_units(${CMAKE_CURRENT_BINARY_DIR}/lamina_cuda_kernels units)
  add_library(lamina_cuda_kernels STATIC ${units})
  add_library(lamina::cuda_kernels ALIAS lamina_cuda_kernels)
  set_target_properties(lamina_cuda_kernels PROPERTIES EXPORT_NAME cuda_kernels)
  target_link_libraries(lamina_cuda_kernels PUBLIC lamina::cuda)
endfunction()
