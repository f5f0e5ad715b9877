# lamina_add_models() and lamina_add_programs(): the programs of Lamina with the models of one's choice. A project that
# has found the package calls them as Lamina's own examples/ does; one that has Lamina's sources in a folder of its own
# includes this file after add_subdirectory(lamina):
#
#     lamina_add_models(my_models MODELS qwen3_vl_nano my_model=mine::Model HEADERS my_model.hpp FAMILY qwen3_vl)
#     lamina_add_programs(my_models PREFIX my- PROGRAMS train serve)
include(${CMAKE_CURRENT_LIST_DIR}/models.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/check_names.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/cuda_kernels.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/video.cmake)
set(LAMINA_CMAKE_DIR ${CMAKE_CURRENT_LIST_DIR})
set(LAMINA_PROGRAMS_DIR ${CMAKE_CURRENT_LIST_DIR}/programs)
if(NOT EXISTS ${LAMINA_PROGRAMS_DIR})
  set(LAMINA_PROGRAMS_DIR ${CMAKE_CURRENT_LIST_DIR}/../examples)  # not yet installed
endif()

# Where models run: member of RegisteredModel | backend | element type of activations | kernels' header | does it train.
set(LAMINA_CPU_RUNS "cpu|Cpu|float|cpu_elsewhere|true")
set(LAMINA_CUDA_RUNS "cuda|Cuda|bf16|cuda|true" "cuda_f16|Cuda|f16|cuda|false")

# The entries "name=type" that words stand for: names of models, "all", or "tiny" for those that tests and README use.
function(lamina_choose_models option words result)
  string(REGEX REPLACE "=[^;]*" "" known "${LAMINA_ALL_MODELS}")
  lamina_check_names("${option}" "${words}" all tiny ${known})
  set(chosen)
  foreach(entry IN LISTS LAMINA_ALL_MODELS)
    string(REGEX REPLACE "=.*" "" name "${entry}")
    if("all" IN_LIST words OR name IN_LIST words OR ("tiny" IN_LIST words AND name MATCHES "_(tiny|nano)$"))
      list(APPEND chosen "${entry}")
    endif()
  endforeach()
  set(${result} "${chosen}" PARENT_SCOPE)
endfunction()

# "#include" lines of headers that are named by a path from the calling folder, or from an include folder.
function(lamina_include_lines headers result)
  set(lines "")
  foreach(header IN LISTS headers)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${header})
      set(header ${CMAKE_CURRENT_SOURCE_DIR}/${header})
    endif()
    string(APPEND lines "#include <${header}>\n")
  endforeach()
  set(${result} "${lines}" PARENT_SCOPE)
endfunction()

# Kinds of adapters that a program may hold next to LoRA: name=type.
set(LAMINA_ALL_ADAPTERS "dora=WeightDecomposed<Rank<Dyn>, Alpha<Dyn>>")

# The lines of a unit that add kinds of adapters, by name, to what it trains.
function(lamina_adapter_ways names result)
  string(REGEX REPLACE "=[^;]*" "" known "${LAMINA_ALL_ADAPTERS}")
  lamina_check_names("ADAPTERS" "${names}" ${known})
  set(lines "    ways.adapters[\"lora\"] = adapters<LowRank<Rank<Dyn>, Alpha<Dyn>>, Model>();")
  foreach(entry IN LISTS LAMINA_ALL_ADAPTERS)
    string(REGEX MATCH "^([a-z]+)=(.+)$" matched "${entry}")
    if(CMAKE_MATCH_1 IN_LIST names)
      string(APPEND lines "\n    ways.adapters[\"${CMAKE_MATCH_1}\"] = adapters<${CMAKE_MATCH_2}, Model>();")
    endif()
  endforeach()
  set(${result} "${lines}" PARENT_SCOPE)
endfunction()

# Writes a model's units, one for each backend, so that they build side by side and a change of one model rebuilds that
# model alone. A unit is a model on a backend: its ways to run (LoRA, full, generation) share most of their code.
function(lamina_write_units NAME TYPE FAMILY HEADERS ADAPTERS runs ranks result)
  lamina_include_lines("${HEADERS}" INCLUDES)
  lamina_adapter_ways("${ADAPTERS}" ADAPTER_WAYS)
  set(units)
  foreach(run IN LISTS runs)
    string(REPLACE "|" ";" run "${run}")
    list(GET run 0 RUN)
    list(GET run 1 BACKEND)
    list(GET run 2 ELEMENT)
    list(GET run 3 KERNELS)
    list(GET run 4 TRAINS)
    set(unit ${CMAKE_CURRENT_BINARY_DIR}/${target}/${NAME}_${RUN}.cpp)
    configure_file(${LAMINA_CMAKE_DIR}/models/sessions.cpp.in ${unit} @ONLY)
    list(APPEND units ${unit})
    foreach(RANKS IN LISTS ranks)
      set(unit ${CMAKE_CURRENT_BINARY_DIR}/${target}/${NAME}_${RUN}_of_${RANKS}.cpp)
      configure_file(${LAMINA_CMAKE_DIR}/models/sharded.cpp.in ${unit} @ONLY)
      list(APPEND units ${unit})
    endforeach()
  endforeach()
  set(${result} ${units} PARENT_SCOPE)
endfunction()

# lamina_add_models(TARGET MODELS NAME... NAME=TYPE... [HEADERS HEADER...] [FAMILY FAMILY] [ADAPTERS KIND...]
#                   [TENSOR_PARALLEL N...] [CUDA])
#
# TARGET holds the models behind make_train_session() and make_engine_session(): programs that link it see no model
# type. It is an object library, because its units register themselves: link it directly.
#   MODELS   names of cmake/models.cmake, all, tiny, or models of one's own: a name and the type's full name
#   HEADERS  what defines the types of one's own, and their family; a path from the calling folder or from an include
#            folder
#   FAMILY   the model_type of config.json that they read; default: the namespace of the type
#   ADAPTERS kinds of adapters that they can train next to LoRA: dora
#   TENSOR_PARALLEL  also for N ranks that share a model (lamina-serve --tensor-parallel-size N), if it divides by N; a
#            number for all models, or NAME:N for one
#   CUDA     also for GPUs: all of them, or those that it names
function(lamina_add_models target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "FAMILY" "MODELS;HEADERS;ADAPTERS;TENSOR_PARALLEL;CUDA")
  if(NOT arg_MODELS OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "lamina_add_models(TARGET MODELS NAME... NAME=TYPE... [HEADERS HEADER...] [FAMILY FAMILY] [ADAPTERS KIND...] [TENSOR_PARALLEL N...] [CUDA [NAME...]])")
  endif()
  set(own ${arg_MODELS})
  list(FILTER own INCLUDE REGEX "=")
  list(FILTER arg_MODELS EXCLUDE REGEX "=")
  lamina_choose_models("lamina_add_models(${target}): MODELS" "${arg_MODELS}" entries)
  string(REGEX REPLACE "=[^;]*" "" names "${entries};${own}")
  list(REMOVE_ITEM names "")
  if(CUDA IN_LIST arg_KEYWORDS_MISSING_VALUES)
    set(arg_CUDA ${names})
  endif()
  lamina_check_names("lamina_add_models(${target}): CUDA" "${arg_CUDA}" ${names})

  set(sources)
  foreach(entry IN LISTS entries own)
    string(REGEX MATCH "^([a-z0-9_]+)=((.*)::)?(.+)$" matched "${entry}")
    if(NOT matched)
      message(FATAL_ERROR "lamina_add_models: \"${entry}\" is not NAME=TYPE with a NAME of lower-case letters, digits and _")
    endif()
    set(name ${CMAKE_MATCH_1})
    set(type ${CMAKE_MATCH_2}${CMAKE_MATCH_4})
    set(family ${CMAKE_MATCH_3})
    set(headers ${arg_HEADERS})
    if(entry IN_LIST entries)
      set(headers lamina/model/${family}/model.hpp)
    elseif(arg_FAMILY)
      set(family ${arg_FAMILY})
    endif()
    set(runs ${LAMINA_CPU_RUNS})
    if(name IN_LIST arg_CUDA)
      list(APPEND runs ${LAMINA_CUDA_RUNS})
    endif()
    set(ranks ${arg_TENSOR_PARALLEL})
    list(FILTER ranks INCLUDE REGEX "^(${name}:)?[0-9]+$")
    list(TRANSFORM ranks REPLACE "^.*:" "")
    list(REMOVE_DUPLICATES ranks)
    lamina_write_units(${name} ${type} "${family}" "${headers}" "${arg_ADAPTERS}" "${runs}" "${ranks}" units)
    list(APPEND sources ${units})
  endforeach()

  # What is slow is in kernels/: the rest gains nothing from more optimisation than -O1, and takes two thirds of the time.
  set(registry ${LAMINA_CMAKE_DIR}/models/registry.cpp)
  set_source_files_properties(${sources} ${registry} PROPERTIES COMPILE_OPTIONS $<$<NOT:$<CONFIG:Debug>>:-O1>)
  add_library(${target} OBJECT ${LAMINA_CMAKE_DIR}/kernels/cpu.cpp ${sources} ${registry})
  target_link_libraries(${target} PUBLIC lamina::host)
  # Families of one's own register themselves in a unit that holds no model: lamina-merge wants them alone.
  lamina_include_lines("${arg_HEADERS}" lines)
  file(CONFIGURE OUTPUT ${target}/families.cpp CONTENT "#include <lamina/model/family.hpp>\n${lines}")
  add_library(${target}_families OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${target}/families.cpp)
  target_link_libraries(${target}_families PUBLIC lamina::host)
  if(arg_CUDA)
    lamina_add_cuda_kernels()
    target_compile_definitions(${target} PRIVATE LAMINA_HAS_CUDA)
    target_link_libraries(${target} PUBLIC lamina::cuda_kernels)
  endif()
endfunction()

# lamina_add_programs(MODELS [PREFIX PREFIX] [PROGRAMS train merge serve chat init download])
#
# The executables PREFIXtrain and so on, with the models of a target of lamina_add_models(). Default: all six, and the
# prefix "MODELS-". With them comes lamina-decode-video, if FFmpeg's libraries are found. A project that calls this for
# several targets compiles each program once.
function(lamina_add_programs models)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "PREFIX" "PROGRAMS")
  if(NOT DEFINED arg_PREFIX)
    set(arg_PREFIX ${models}-)
  endif()
  set(known train merge serve chat init download)
  if(NOT arg_PROGRAMS)
    set(arg_PROGRAMS ${known})
  endif()
  lamina_check_names("lamina_add_programs: PROGRAMS" "${arg_PROGRAMS}" ${known})
  lamina_add_video_decoder()
  foreach(program IN LISTS arg_PROGRAMS)
    if(NOT TARGET lamina_${program}_program)
      set(sources ${LAMINA_PROGRAMS_DIR}/${program}.cpp)
      if(program STREQUAL "train")
        list(APPEND sources ${LAMINA_PROGRAMS_DIR}/train_page.cpp)
      endif()
      add_library(lamina_${program}_program OBJECT ${sources})
      target_compile_options(lamina_${program}_program PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O1>)
      target_link_libraries(lamina_${program}_program PUBLIC lamina::host)
      if(program MATCHES "^(train|serve)$")
        target_link_libraries(lamina_${program}_program PUBLIC lamina_mpi)
      endif()
    endif()
    add_executable(${arg_PREFIX}${program})
    set_target_properties(${arg_PREFIX}${program} PROPERTIES LINKER_LANGUAGE CXX)
    target_link_libraries(${arg_PREFIX}${program} PRIVATE lamina_${program}_program)
    if(program STREQUAL "merge")
      target_link_libraries(${arg_PREFIX}merge PRIVATE ${models}_families)  # tensor by tensor: it needs no model
    elseif(NOT program STREQUAL "download")
      target_link_libraries(${arg_PREFIX}${program} PRIVATE ${models})
    endif()
  endforeach()
endfunction()
