# What `cmake --install` copies: headers, programs, the CUDA kernels' library, and what lamina_add_models() needs in a
# project that finds the package.
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/lamina)
install(TARGETS lamina lamina_host lamina_cuda EXPORT lamina FILE_SET HEADERS FILE_SET cuda)
if(TARGET lamina_cuda_kernels)
  install(TARGETS lamina_cuda_kernels EXPORT lamina)
endif()
if(LAMINA_BUILD_EXAMPLES)
  install(TARGETS lamina-train lamina-merge lamina-serve lamina-chat lamina-init lamina-download)
  if(TARGET lamina-decode-video)
    install(TARGETS lamina-decode-video)
  endif()
endif()
install(EXPORT lamina NAMESPACE lamina:: FILE laminaTargets.cmake DESTINATION ${package})
configure_package_config_file(cmake/laminaConfig.cmake.in laminaConfig.cmake INSTALL_DESTINATION ${package}
                              PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(laminaConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/laminaConfig.cmake ${PROJECT_BINARY_DIR}/laminaConfigVersion.cmake
              cmake/add_models.cmake cmake/models.cmake cmake/check_names.cmake cmake/cairo.cmake cmake/mpi.cmake
              cmake/cuda_kernels.cmake cmake/video.cmake
        DESTINATION ${package})
install(DIRECTORY cmake/models cmake/kernels DESTINATION ${package})
file(GLOB programs CONFIGURE_DEPENDS examples/*.cpp)
install(FILES ${programs} DESTINATION ${package}/programs)

# `cpack` in the build folder writes lamina_VERSION_ARCHITECTURE.deb, which wants the shared libraries that the programs
# load; what else a build with the headers wants is suggested.
if(PROJECT_IS_TOP_LEVEL)
  set(CPACK_GENERATOR DEB)
  set(CPACK_PACKAGE_VENDOR Lamina)
  set(CPACK_PACKAGE_CONTACT "Lamina's authors <lamina@example.org>")
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Fine-tune, merge and serve vision-language models; a C++20 library of models as types")
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
  set(CPACK_STRIP_FILES ON)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION science)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  file(READ cmake/install-dependencies.sh script)
  string(REGEX MATCH "packages=\\(([^)]*)\\)" script "${script}")
  string(REGEX MATCHALL "[^ \n]+" packages "${CMAKE_MATCH_1}")
  list(REMOVE_ITEM packages ninja-build ccache libbenchmark-dev catch2 curl)  # of the project's own tests and figures
  list(JOIN packages ", " packages)
  set(CPACK_DEBIAN_PACKAGE_SUGGESTS "${packages}")
  if(LAMINA_CUDA)  # dpkg does not know whose library cuBLASLt is if the toolkit came without packages
    set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libcublas-${CUDAToolkit_VERSION_MAJOR}-${CUDAToolkit_VERSION_MINOR}")
  endif()
  include(CPack)
endif()
