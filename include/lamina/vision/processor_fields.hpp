#pragma once
#include <vector>

#include <lamina/io/keys/field_table.hpp>
#include <lamina/model/processor_format.hpp>

/// What becomes of each field of preprocessor_config.json, video_preprocessor_config.json and processor_config.json.
/// Source: transformers 5.6 and 4.57, Qwen2VLImageProcessor, ImagesKwargs, Qwen2_5_VLProcessor, Qwen3VLProcessor; 5.24,
/// Qwen2VLVideoProcessor, Qwen3VLVideoProcessor.
namespace lamina::vision {

namespace detail {
using io::Field, io::FieldUse;

inline constexpr std::string_view every_step = "the step is part of the models' image processing";
inline constexpr std::string_view not_a_step = "the models' image processing has no such step";
inline constexpr std::string_view python_only = "it shapes how the Python class runs";

/// The object that describes image processing.
inline constexpr Field image_fields[] = {
    {"patch_size", FieldUse::used},
    {"temporal_patch_size", FieldUse::used},
    {"merge_size", FieldUse::used},
    {"image_mean", FieldUse::used},
    {"image_std", FieldUse::used},
    {"min_pixels", FieldUse::used, "wins over size.shortest_edge"},
    {"max_pixels", FieldUse::used, "wins over size.longest_edge"},
    {"size", FieldUse::used},
    {"do_resize", FieldUse::refused, every_step, "[true]"},
    {"do_rescale", FieldUse::refused, every_step, "[true]"},
    {"do_normalize", FieldUse::refused, every_step, "[true]"},
    {"do_convert_rgb", FieldUse::refused, every_step, "[true]"},
    {"resample", FieldUse::refused, "only bicubic resizing is built", "[3]"},
    {"rescale_factor", FieldUse::refused, "pixels are bytes", "[0.00392156862745098]"},
    {"do_center_crop", FieldUse::refused, not_a_step, "[false]"},
    {"do_pad", FieldUse::refused, not_a_step, "[false]"},
    {"image_processor_type", FieldUse::refused, "these share one way of processing images"},
    {"feature_extractor_type", FieldUse::refused, "these share one way of processing images"},
    {"crop_size", FieldUse::no_effect, "it belongs to do_center_crop"},
    {"pad_size", FieldUse::no_effect, "it belongs to do_pad"},
    {"default_to_square", FieldUse::no_effect, "sizes are counts of pixels, not sides"},
    {"image_seq_length", FieldUse::no_effect, "the image's size decides how many tokens it has"},
    {"data_format", FieldUse::no_effect, python_only},
    {"input_data_format", FieldUse::no_effect, python_only},
    {"device", FieldUse::no_effect, python_only},
    {"disable_grouping", FieldUse::no_effect, python_only},
    {"return_tensors", FieldUse::no_effect, python_only},
    {"processor_class", FieldUse::no_effect, "config.json's model_type decides"},
    {"auto_map", FieldUse::no_effect, "no code of a model folder is run"},
    {"_valid_processor_keys", FieldUse::no_effect, python_only},
    {"transformers_version", FieldUse::no_effect, "it tells people where the file comes from"},
};

/// The same with the classes that a family's files may name.
inline std::vector<Field> image_fields_of(const ProcessorFormat& format) {
  std::vector<Field> fields(std::begin(image_fields), std::end(image_fields));
  for (Field& field : fields) {
    if (field.name == "image_processor_type") field.only = format.image_processor_types;
    if (field.name == "feature_extractor_type") field.only = format.feature_extractor_types;
  }
  return fields;
}

/// What the object that describes video processing has besides the fields of images.
inline constexpr Field video_fields[] = {
    {"fps", FieldUse::used, "frames per second that are picked"},
    {"min_frames", FieldUse::used},
    {"max_frames", FieldUse::used},
    {"video_processor_type", FieldUse::refused, "these share one way of processing videos"},
    {"cap_pixels_per_frame", FieldUse::refused, "the limits of a clip are those of `size`", "[false]"},
    {"num_frames", FieldUse::refused, "fps says how many frames are picked", "[]"},
    {"do_sample_frames", FieldUse::no_effect, "frames are picked by fps, unless a list of them is given"},
    {"max_video_tokens", FieldUse::no_effect, "it belongs to cap_pixels_per_frame"},
    {"max_image_size", FieldUse::no_effect, "transformers' class does not read it"},
    {"max_duration", FieldUse::no_effect, "transformers' class does not read it"},
    {"return_metadata", FieldUse::no_effect, python_only},
    {"video_metadata", FieldUse::no_effect, python_only},
};

inline std::vector<Field> video_fields_of(const ProcessorFormat& format) {
  std::vector<Field> fields = image_fields_of(format);
  for (Field field : video_fields) {
    if (field.name == "video_processor_type") field.only = format.video.video_processor_types;
    fields.push_back(field);
  }
  return fields;
}

/// `size`, inside it.
inline constexpr Field size_fields[] = {
    {"shortest_edge", FieldUse::used, "the least number of pixels"},
    {"longest_edge", FieldUse::used, "the largest number of pixels"},
    {"min_pixels", FieldUse::used, "another spelling of shortest_edge"},
    {"max_pixels", FieldUse::used, "another spelling of longest_edge"},
    {"height", FieldUse::refused, "images keep their shape: give shortest_edge and longest_edge", "[]"},
    {"width", FieldUse::refused, "images keep their shape: give shortest_edge and longest_edge", "[]"},
    {"max_height", FieldUse::refused, "images keep their shape: give shortest_edge and longest_edge", "[]"},
    {"max_width", FieldUse::refused, "images keep their shape: give shortest_edge and longest_edge", "[]"},
};

/// processor_config.json's own level.
inline constexpr Field processor_fields[] = {
    {"image_processor", FieldUse::used, "wins over preprocessor_config.json"},
    {"video_processor", FieldUse::used, "wins over video_preprocessor_config.json"},
    {"processor_class", FieldUse::no_effect, "config.json's model_type decides"},
    {"image_token", FieldUse::no_effect, "the tokenizer and config.json say where images go"},
    {"video_token", FieldUse::no_effect, "the tokenizer and config.json say where videos go"},
    {"auto_map", FieldUse::no_effect, "no code of a model folder is run"},
    {"chat_template", FieldUse::no_effect, "chat templates are read from other files of the folder"},
    {"tokenizer", FieldUse::no_effect, "the tokenizer's own files are read"},
    {"transformers_version", FieldUse::no_effect, "it tells people where the file comes from"},
};

}  // namespace detail
}  // namespace lamina::vision
