# The compositions that the programs hold, and for each of them the ways it runs. A model on a backend is a translation
# unit of its own, so that they build side by side and a change of one model rebuilds that model alone; its ways share
# the unit, because they share most of its code: five units would take 2.4 times as long.
set(LAMINA_ALL_MODELS
    "qwen3_vl_tiny=qwen3_vl::Qwen3VL_Tiny" "qwen3_vl_nano=qwen3_vl::Qwen3VL_Nano"
    "qwen3_vl_2b=qwen3_vl::Qwen3VL_2B" "qwen3_vl_4b=qwen3_vl::Qwen3VL_4B"
    "qwen3_vl_8b=qwen3_vl::Qwen3VL_8B" "qwen3_vl_32b=qwen3_vl::Qwen3VL_32B"
    "qwen2_5_vl_tiny=qwen2_5_vl::Qwen2_5VL_Tiny" "qwen2_5_vl_3b=qwen2_5_vl::Qwen2_5VL_3B" "qwen2_5_vl_7b=qwen2_5_vl::Qwen2_5VL_7B"
    "qwen2_5_vl_32b=qwen2_5_vl::Qwen2_5VL_32B" "qwen2_5_vl_72b=qwen2_5_vl::Qwen2_5VL_72B")
string(REGEX REPLACE "=[^;]*" "" LAMINA_MODEL_NAMES "${LAMINA_ALL_MODELS}")
include(${CMAKE_CURRENT_LIST_DIR}/check_names.cmake)
lamina_check_names(LAMINA_MODELS "${LAMINA_MODELS}" all tiny ${LAMINA_MODEL_NAMES})

set(LAMINA_WAYS
    "lora|train|LoRA<Base, Rank<Dyn>, Alpha<Dyn>, Within<name::language_model>>"
    "lora_all|train|LoRA<Base, Rank<Dyn>, Alpha<Dyn>, AllLinears>"
    "full|train|FreezeUnder<Base, name::visual>"
    "full_all|train|Base"
    "generate|serve|Base"
    "engine|engine|Base")

# Name | backend | element type of activations | kernels' header | kinds of ways
set(LAMINA_RUNS "cpu|Cpu|float|cpu_elsewhere|train serve engine")
if(LAMINA_CUDA)
  list(APPEND LAMINA_RUNS "cuda|Cuda|bf16|cuda|train serve engine" "cuda_f16|Cuda|f16|cuda|serve engine")
endif()

set(LAMINA_MODEL_SOURCES)
set(LAMINA_MODEL_DECLARATIONS "")
set(LAMINA_MODEL_ENTRIES "")
foreach(entry IN LISTS LAMINA_ALL_MODELS)
  string(REPLACE "=" ";" entry "${entry}")
  list(GET entry 0 NAME)
  list(GET entry 1 TYPE)
  if(NOT "all" IN_LIST LAMINA_MODELS AND NOT NAME IN_LIST LAMINA_MODELS AND NOT NAME MATCHES "_(tiny|nano)$")
    continue()
  endif()
  string(REGEX MATCH "^[a-z0-9_]+" FAMILY "${TYPE}")
  set(openers "")
  foreach(run IN LISTS LAMINA_RUNS)
    string(REPLACE "|" ";" run "${run}")
    list(GET run 0 RUN)
    list(GET run 1 BACKEND)
    list(GET run 2 ELEMENT)
    list(GET run 3 KERNELS)
    list(GET run 4 KINDS)
    set(ways "")
    set(OPENERS "")
    foreach(way IN LISTS LAMINA_WAYS)
      string(REPLACE "|" ";" way "${way}")
      list(GET way 0 WAY)
      list(GET way 1 KIND)
      list(GET way 2 COMPOSITION)
      if(NOT KINDS MATCHES ${KIND})
        continue()
      endif()
      if(KIND STREQUAL "train")
        set(INTERFACE TrainSession)
        set(OPTIONS TrainableOptions)
        set(SESSION train::ModelTrainSession)
      elseif(KIND STREQUAL "engine")
        set(INTERFACE engine::EngineSession)
        set(OPTIONS engine::EngineOptions)
        set(SESSION engine::ModelEngineSession)
      else()
        set(INTERFACE GenerateSession)
        set(OPTIONS GenerateOptions)
        set(SESSION serve::ModelGenerateSession)
      endif()
      set(OPEN open_${NAME}_${WAY}_${RUN})
      string(APPEND OPENERS
             "std::unique_ptr<${INTERFACE}> ${OPEN}(const checkpoint::ModelSource& source, const ${OPTIONS}& options) {\n"
             "  return std::make_unique<${SESSION}<Fused<${COMPOSITION}>, ${ELEMENT}, ${BACKEND}>>(source, options);\n}\n")
      string(APPEND LAMINA_MODEL_DECLARATIONS
             "std::unique_ptr<${INTERFACE}> ${OPEN}(const checkpoint::ModelSource&, const ${OPTIONS}&);\n")
      string(APPEND ways ", .${WAY} = ${OPEN}")
    endforeach()
    set(source ${CMAKE_CURRENT_BINARY_DIR}/${NAME}_${RUN}.cpp)
    configure_file(${PROJECT_SOURCE_DIR}/examples/model_sessions.cpp.in ${source} @ONLY)
    list(APPEND LAMINA_MODEL_SOURCES ${source})
    string(REGEX REPLACE "^, " "" ways "${ways}")
    string(APPEND openers ", {${ways}}")
  endforeach()
  string(APPEND LAMINA_MODEL_ENTRIES "      {\"${NAME}\", \"${FAMILY}\", facts_of<${TYPE}>(), list_tensors<${TYPE}>${openers}},\n")
endforeach()
