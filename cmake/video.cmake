# lamina-decode-video, in which the programs of Lamina next to it decode videos, so that none of them holds FFmpeg's
# libraries.
option(LAMINA_WITH_VIDEO "Build lamina-decode-video, which reads videos, where FFmpeg's libraries are found" ON)

# Adds the program once, if it can be built.
function(lamina_add_video_decoder)
  if(TARGET lamina-decode-video OR NOT LAMINA_WITH_VIDEO)
    return()
  endif()
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    pkg_check_modules(LAMINA_FFMPEG QUIET IMPORTED_TARGET libavformat>=59 libavcodec>=59 libavutil>=57 libswscale>=6)
  endif()
  if(NOT LAMINA_FFMPEG_FOUND)
    message(STATUS "lamina: no FFmpeg, videos are refused")
    return()
  endif()
  add_executable(lamina-decode-video ${LAMINA_PROGRAMS_DIR}/decode_video.cpp)
  target_link_libraries(lamina-decode-video PRIVATE lamina::lamina PkgConfig::LAMINA_FFMPEG)
  target_compile_definitions(lamina-decode-video PRIVATE $<TARGET_PROPERTY:lamina::host,INTERFACE_COMPILE_DEFINITIONS>)
endfunction()
