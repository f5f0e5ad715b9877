#pragma once
#include <lamina/model/family.hpp>

/// A made-up family: other names, another config.json, another chat layout, another processor. It is what a project of
/// one's own adds: this folder, and the line at its end. third_family_test.cpp shows that nothing else is
/// edited.
namespace heron {

using namespace lamina;
using enum io::FieldUse;

inline constexpr io::Field text_fields[] = {{"head_dim", fact}, {"n_layers", used, "num_hidden_layers"}};
inline constexpr io::Field vision_fields[] = {{"window_size", fact}, {"fullatt_block_indexes", fact}};
inline constexpr FieldDefault defaults[] = {
    {"text_config.num_hidden_layers", "", "n_layers"},
    {"text_config.head_dim", "32"},
    {"text_config.max_position_embeddings", "1024"},
    {"text_config.hidden_act", R"("silu")"},
    {"text_config.mrope_interleaved", "false"},
    {"vision_config.num_heads", "4"},
    {"vision_config.in_channels", "3"},
    {"vision_config.patch_size", "8"},
    {"vision_config.temporal_patch_size", "1"},
    {"vision_config.spatial_merge_size", "4"},
    {"vision_config.hidden_act", R"("gelu")"},
    {"vision_config.fullatt_block_indexes", "[1]"},
};

inline constexpr checkpoint::Respelling respellings[] = {
    {"eye", "eye"}, {"beak", "beak"}, {"net.eye", "eye"}, {"net.beak", "beak"}, {"net", "decoder"}};
inline constexpr std::string_view parts[] = {"eye", "beak", "decoder"};
inline constexpr std::string_view visited[] = {"decoder", "eye", "beak"};

inline constexpr ToolMarks tools{.offer_begin = "Tools:",
                                 .offer_end = "\n.",
                                 .call_begin = "<call>",
                                 .call_end = "</call>",
                                 .response_begin = "<got>",
                                 .response_end = "</got>"};
inline constexpr std::string_view control_tokens[] = {"<turn>", "<end>", "<see>"};
inline constexpr TrainingTemplate templates[] = {{.name = "heron", .models = "Heron-VL", .tools = &tools}};

inline constexpr Family family{
    .model_type = "heron_vl",
    .title = "Heron-VL",
    .relatives = {},
    .names = {respellings, parts},
    .regions =
        {.tower = "eye", .projector = "beak", .head = "decoder.out", .embedding = "decoder.words", .visited = visited},
    .config = {.text_fields = text_fields, .vision_fields = vision_fields, .defaults = defaults, .image_token_id = 7},
    .chat = {.title = "Heron-VL",
             .turn_begin = "<turn>",
             .role_end = ": ",
             .turn_end = "<end>",
             .turn_break = "",
             .user = "human",
             .assistant = "heron",
             .system = "rules",
             .image_begin = "[",
             .image_pad = "<see>",
             .image_end = "]",
             .video_pad = "<watch>",
             .tools = &tools,
             .control_tokens = control_tokens,
             .released_template = "{% set images = namespace(count=0) %}"
                                  "{% set names = {'system': 'rules', 'user': 'human', 'assistant': 'heron'} %}"
                                  "{% for message in messages %}<turn>{{ names[message.role] }}: "
                                  "{% if message.content is string %}{{ message.content }}"
                                  "{% else %}{% for part in message.content %}"
                                  "{% if part.type == 'image' %}{% set images.count = images.count + 1 %}"
                                  "{% if add_vision_id %}Image {{ images.count }}: {% endif %}[<see>]"
                                  "{% else %}{{ part.text }}{% endif %}"
                                  "{% endfor %}{% endif %}<end>{% endfor %}"
                                  "{% if add_generation_prompt %}<turn>heron: {% endif %}"},
    .templates = templates,
    .processor = {.patch_size = 8,
                  .temporal_patch_size = 1,
                  .merge_size = 4,
                  .min_pixels = 1024,
                  .max_pixels = 65536,
                  .mean = {0.5f, 0.5f, 0.5f},
                  .std = {0.25f, 0.25f, 0.25f},
                  .image_processor_types = R"(["HeronImageProcessor"])",
                  .feature_extractor_types = "[]",
                  .shape = {.least_side = 32, .most_ratio = 10, .ratio_after = 8}}};

inline const bool registered = register_family(family);

}  // namespace heron
