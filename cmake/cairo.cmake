# Gives a target cairo, with which lamina-train draws its loss plot, if it is here; a project that finds the installed
# package looks for it in the same way.
function(lamina_link_cairo target)
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    pkg_check_modules(LAMINA_CAIRO QUIET IMPORTED_TARGET cairo-png)
  endif()
  if(LAMINA_CAIRO_FOUND)
    target_compile_definitions(${target} INTERFACE $<BUILD_INTERFACE:LAMINA_HAS_CAIRO>)
    target_link_libraries(${target} INTERFACE $<BUILD_INTERFACE:PkgConfig::LAMINA_CAIRO>)
  else()
    message(STATUS "lamina: no cairo, lamina-train draws no loss plot")
  endif()
endfunction()
