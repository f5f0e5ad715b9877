# Every library comes from the distribution's packages. A missing optional one turns its feature off with one line.
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(Threads REQUIRED)
find_path(LAMINA_RANDOM123 Random123/philox.h REQUIRED)
target_link_libraries(lamina INTERFACE Eigen3::Eigen Threads::Threads)
target_include_directories(lamina SYSTEM INTERFACE $<BUILD_INTERFACE:${LAMINA_RANDOM123}>)
# The CPU's kernels say with "omp simd" which loops are vectors; their threads are core/threads/pool.hpp's own.
target_compile_options(lamina INTERFACE "$<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang,AppleClang>:-fopenmp-simd>"
                                        "$<$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>:-Xcompiler=-fopenmp-simd>")

add_library(lamina_host INTERFACE)
add_library(lamina::host ALIAS lamina_host)
set_target_properties(lamina_host PROPERTIES EXPORT_NAME host)
target_compile_definitions(lamina_host INTERFACE LAMINA_VERSION="${lamina_VERSION}")
target_link_libraries(lamina_host INTERFACE lamina)

find_package(Boost 1.74 REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_library(LAMINA_UTF8PROC utf8proc REQUIRED)
find_path(LAMINA_STB stb_image_write.h PATH_SUFFIXES stb REQUIRED)  # for the programs that draw data sets
target_include_directories(lamina_host SYSTEM INTERFACE $<BUILD_INTERFACE:${LAMINA_STB}>)
find_package(JPEG REQUIRED)
find_package(ZLIB REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS SSL Crypto)  # TLS of the server; base64, hashes, comparisons in constant time
find_package(CURL 7.85 REQUIRED)  # fetches models; TLS is its business
target_link_libraries(lamina_host INTERFACE Boost::headers nlohmann_json::nlohmann_json fmt::fmt spdlog::spdlog utf8proc yaml-cpp
                                          JPEG::JPEG ZLIB::ZLIB OpenSSL::SSL OpenSSL::Crypto CURL::libcurl)

find_library(LAMINA_WEBP webp)
find_library(LAMINA_WEBPDEMUX webpdemux)
if(LAMINA_WEBP AND LAMINA_WEBPDEMUX)
  target_compile_definitions(lamina_host INTERFACE LAMINA_HAS_WEBP)
  target_link_libraries(lamina_host INTERFACE webp webpdemux)
else()
  message(STATUS "lamina: no libwebp, WebP images are refused")
endif()
find_package(TIFF)  # 4.5 and newer bound what a file may allocate
if(TIFF_FOUND AND TIFF_VERSION_STRING VERSION_GREATER_EQUAL 4.5)
  target_compile_definitions(lamina_host INTERFACE LAMINA_HAS_TIFF)
  target_link_libraries(lamina_host INTERFACE TIFF::TIFF)
else()
  message(STATUS "lamina: no libtiff 4.5 or newer, TIFF images are refused")
endif()
include(cmake/cairo.cmake)
lamina_link_cairo(lamina_host)
include(cmake/mpi.cmake)
lamina_link_mpi()
if(NOT LAMINA_HAS_MPI)
  message(STATUS "lamina: no MPI, training without a GPU runs in one process")
endif()
