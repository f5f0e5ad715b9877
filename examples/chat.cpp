// lamina-chat: asks a model on the command line, with images and videos; without --prompt it reads lines.
#include <unistd.h>

#include <csignal>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <lamina/engine/images/image_hash.hpp>
#include <lamina/engine/open.hpp>
#include <lamina/engine/request/complete.hpp>
#include <lamina/hub/keys.hpp>
#include <lamina/hub/resolve.hpp>
#include <lamina/io/flags.hpp>
#include <lamina/io/program/program.hpp>
#include <lamina/serve/openai/request/template_kwargs.hpp>
#include <lamina/serve/prompt/prompt.hpp>
#include <lamina/text/tokenizer/more_tokens.hpp>

namespace {
using namespace lamina;

struct Flags {
  std::filesystem::path model;
  std::vector<std::filesystem::path> images, videos, adapters;
  hub::Options hub{
      .revision_name = "--revision", .cache_dir_name = "--download-dir", .hf_token_name = "", .ms_token_name = ""};
  std::optional<std::string> prompt;
  std::string system, dtype = "auto", device = "auto";
  text::TemplateOptions prompt_options;
  std::optional<double> temperature, top_p;
  std::optional<int> top_k;
  std::optional<std::uint64_t> seed;
  int max_tokens = 1024, max_model_len = 0;
  bool greedy = false, show_prompt = false;
};

void read_top_p(Flags& settings, const io::Setting& s, std::string_view flag) {
  settings.top_p = io::number_of(s, flag);
  if (!(*settings.top_p > 0 && *settings.top_p <= 1)) io::wrong_value(s, flag, "a number in (0, 1]");
}

void read_max_model_len(Flags& settings, const io::Setting& s, std::string_view flag) {
  io::read_value(s, flag, settings.max_model_len);
  if (settings.max_model_len == 1)
    io::wrong_value(s, flag, "0, or at least 2: a token of the question and one of the answer");
}

void read_template_kwargs(Flags& settings, const io::Setting& s, std::string_view flag) {
  auto& variables = settings.prompt_options.variables;
  variables = io::object_of(s, flag, "a JSON object of variables");
  serve::check_template_flag(variables, cat("--", flag), nullptr);
}

constexpr std::string_view devices[] = {"auto", "cpu", "cuda"}, dtypes[] = {"auto", "float16", "bfloat16", "float32"};
constexpr int any_count = 1 << 30;
constexpr io::Key<Flags> flags[] = {
    io::honoured<&Flags::model>("model", "model directory, or a model's name on a hub"),
    hub::revision_flag<&Flags::hub>,
    hub::cache_flag<&Flags::hub>,
    io::honoured<&Flags::images>("image", "an image for the first question; may be repeated"),
    io::honoured<&Flags::videos>("video", "a video for the first question; may be repeated"),
    io::honoured<&Flags::prompt>("prompt", "the question, which may be empty; the program ends after its answer"),
    io::honoured<&Flags::system>("system", "what the model reads first"),
    io::honoured_by("chat-template-kwargs", io::KeyType::object, "", read_template_kwargs,
                    "{\"enable_thinking\": false}: variables that the model's chat template reads"),
    io::honoured<&Flags::adapters>("adapter", "a PEFT adapter directory, or its name on a hub; may be repeated"),
    io::honoured<&Flags::temperature>("temperature", "0: greedy").within(0, 2),
    io::honoured_by("top-p", io::KeyType::number, "", read_top_p, "mass of the tokens to draw from"),
    io::honoured<&Flags::top_k>("top-k", "number of tokens to draw from; 0: all").within(-1, any_count),
    io::honoured<&Flags::seed>("seed", "the same seed draws the same answer"),
    io::honoured<&Flags::max_tokens>("max-tokens", "of an answer").within(1, any_count),
    io::honoured<&Flags::max_model_len>("max-model-len", "of the whole conversation, in tokens; 0: the model's")
        .within(0, any_count)
        .read_by(read_max_model_len),
    io::honoured_word<devices, &Flags::device>("device", "auto (the GPU if there is one), cpu or cuda"),
    io::honoured_word<dtypes, &Flags::dtype>("dtype", "of the weights: auto, float16, bfloat16 or float32"),
    io::honoured<&Flags::greedy>("greedy", "take the most probable token, without penalties"),
    io::honoured<&Flags::show_prompt>("show-prompt", "print the text and the ids of the prompt, and answer nothing"),
};

volatile std::sig_atomic_t interrupted = 0;

/// What the model reads before the first question.
serve::PromptMessages opening(const Flags& settings) {
  serve::PromptMessages out;
  if (!settings.system.empty()) out.messages.push_back({"system", {{text::Part::Kind::text, settings.system}}, true});
  return out;
}
serve::ModelFiles files_for(const Flags& settings) {
  auto files = serve::ModelFiles::load(settings.model, text::tokenizer_folder(settings.model, settings.adapters));
  for (const auto& note : files.notes) log_warning("lamina-chat: ", note);
  serve::check_template_flag(settings.prompt_options.variables, "--chat-template-kwargs", &files.chat_template);
  if (files.processor.reads_images())
    files.processor.set_visual_tokens(visual_tokens_of(settings.model), settings.model);
  return files;
}
/// Images with alpha go on white, as in lamina-serve and Qwen's own tools.
vision::Image image_of(const std::filesystem::path& path) {
  vision::Image image = vision::load_image(path);
  vision::put_on_background(image, {255, 255, 255});
  return image;
}
/// A video, and a line about the frames of it that are seen.
serve::PromptVideo video_of(const std::filesystem::path& path, const serve::ModelFiles& files) {
  if (files.pads.video < 0) fail("--video: the model reads no videos");
  auto video = serve::open_video(std::make_shared<const vision::VideoFile>(path), files.processor);
  const auto place = serve::place_video(video, files.processor, files.family->chat, files.tokens_per_second);
  const Grid clip = place.clip();
  log_info(fmt::format("[video {}: frames {}, seen at {:.1f} s, {} tokens]", path.string(),
                       fmt::join(video.choice.frames, " "),
                       fmt::join(video.choice.group_seconds(files.processor.temporal_patch_size), " "),
                       files.processor.visual_tokens()(clip)));
  return video;
}
/// Images and videos of the next question.
struct Media {
  std::vector<vision::Image> images;
  std::vector<serve::PromptVideo> videos;
};
Media media_of(const Flags& settings, const serve::ModelFiles& files) {
  Media out;
  for (const auto& path : settings.images) out.images.push_back(image_of(path));
  for (const auto& path : settings.videos) out.videos.push_back(video_of(path, files));
  return out;
}
/// The conversation with one question more, about these images and videos.
serve::PromptMessages with_question(serve::PromptMessages conversation, Media media, const std::string& prompt) {
  text::Message turn{"user", {}, media.images.empty() && media.videos.empty()};
  for (auto& image : media.images) {
    turn.parts.push_back({text::Part::Kind::image, {}});
    conversation.images.push_back(std::move(image));
  }
  for (auto& video : media.videos) {
    turn.parts.push_back({text::Part::Kind::video, {}});
    conversation.videos.push_back(std::move(video));
  }
  turn.parts.push_back({text::Part::Kind::text, prompt});
  conversation.messages.push_back(std::move(turn));
  return conversation;
}

/// The prompt as the model reads it. Error with what the chat template says if it refuses the conversation.
Batch prompt_of(const serve::ModelFiles& files, const serve::PromptMessages& asked,
                const text::TemplateOptions& options, int max_model_len) try {
  return serve::make_prompt(files, files.processor, asked, options, {.max_model_len = max_model_len});
} catch (const text::jinja::RaisedByTemplate& refused) {
  fail("the chat template refuses the conversation: ", refused.what());
}

/// The conversation so far, and how it goes on.
class Chat {
 public:
  explicit Chat(const Flags& settings)
      : settings_(settings),
        files_(files_for(settings)),
        conversation_(opening(settings)),
        waiting_(media_of(settings, files_)),
        engine_(open_for_engine(settings.model, options(settings))),
        seed_(settings.seed.value_or(std::random_device{}())) {}

  void clear() {
    conversation_ = opening(settings_);
    waiting_ = {};
  }
  void add_image(const std::filesystem::path& path) { waiting_.images.push_back(image_of(path)); }
  void add_video(const std::filesystem::path& path) { waiting_.videos.push_back(video_of(path, files_)); }

  /// Prints the answer as it comes, then the speed on stderr. A failed turn leaves the conversation as it was.
  void ask(const std::string& prompt) {
    auto next = with_question(conversation_, std::exchange(waiting_, {}), prompt);
    const auto batch =
        std::make_shared<const Batch>(prompt_of(files_, next, settings_.prompt_options, engine_.context_tokens()));
    const auto hashes = engine::hash_images(*batch, files_.processor.row_length());
    std::string answer;
    interrupted = 0;
    const auto done =
        engine::complete(engine_, files_.tokenizer, params(),
                         {.prompt = batch,
                          .images = engine::place_images(*batch, hashes, files_.pads, files_.processor.visual_tokens()),
                          .listener = {}},
                         [&](const engine::Delta& delta) {
                           std::cout << delta.text << std::flush;
                           answer += delta.text;
                           return !interrupted;
                         });
    std::cout << std::endl;
    report(done);
    next.messages.push_back({"assistant", {{text::Part::Kind::text, answer}}, true});
    conversation_ = std::move(next);
  }

 private:
  static engine::EngineOptions options(const Flags& settings) {
    engine::EngineOptions out;
    out.max_model_len = settings.max_model_len;
    out.adapters = settings.adapters;
    out.device = settings.device;
    out.rows = 1;
    if (settings.dtype == "float16") out.dtype = DType::F16;
    if (settings.dtype == "bfloat16") out.dtype = DType::BF16;
    if (settings.dtype == "float32") out.dtype = DType::F32;
    return out;
  }
  engine::GenerationParams params() {
    const auto& defaults = files_.defaults;
    engine::GenerationParams out;
    auto& s = out.sampling;
    s.temperature = settings_.greedy ? 0 : settings_.temperature.value_or(defaults.temperature.value_or(1));
    s.top_p = settings_.top_p.value_or(defaults.top_p.value_or(1));
    s.top_k = settings_.top_k.value_or(defaults.top_k.value_or(0));
    s.repetition_penalty = settings_.greedy ? 1 : defaults.repetition_penalty.value_or(1);
    s.seed = seed_;
    s.stream = turn_++;
    out.eos = files_.eos;
    out.max_tokens = settings_.max_tokens;
    return out;
  }
  static void report(const engine::Completion& done) {
    log_info(fmt::format("[prompt {} tokens, {:.1f} tokens/s; answer {} tokens, {:.1f} tokens/s; {}]",
                         done.prompt_tokens, done.prompt_tokens / std::max(done.prefill_s, 1e-9),
                         done.completion_tokens, done.completion_tokens / std::max(done.decode_s, 1e-9),
                         engine::name_of(done.finish)));
  }

  const Flags& settings_;
  serve::ModelFiles files_;
  serve::PromptMessages conversation_;
  Media waiting_;  ///< of the next question; those of the command line are read before the model, which takes longer
  engine::Engine engine_;
  std::uint64_t seed_, turn_ = 0;
};

/// Reads lines until /exit or the end of input; an error ends a turn, not the program.
void converse(Chat& chat) {
  const bool terminal = ::isatty(STDIN_FILENO);
  if (terminal) std::cerr << "/image PATH and /video PATH add to the next question, /clear forgets, /exit ends\n";
  std::signal(SIGINT, [](int) { interrupted = 1; });
  for (std::string line; (terminal && std::cerr << "> "), std::getline(std::cin, line);) try {
      if (line == "/exit" || line == "exit") return;
      if (line == "/clear" || line == "clear")
        chat.clear();
      else if (line.starts_with("/image "))
        chat.add_image(line.substr(7));
      else if (line.starts_with("/video "))
        chat.add_video(line.substr(7));
      else if (line.starts_with("/"))
        std::cerr << line << ": unknown; there are /image PATH, /video PATH, /clear and /exit\n";
      else if (!line.empty())
        chat.ask(line);
    } catch (const Error& e) {
      log_error("lamina-chat: ", e.what());
    }
}

/// The prompt as the template writes it, then its ids, with the token of each image and video as often as the model
/// reads it.
void show_prompt(const Flags& settings) {
  const auto files = files_for(settings);
  const auto& options = settings.prompt_options;
  const auto asked = with_question(opening(settings), media_of(settings, files), *settings.prompt);
  const int most = settings.max_model_len > 0 ? settings.max_model_len : any_count / 4;
  const Batch batch = prompt_of(files, asked, options, most);
  std::cout << "text:\n"
            << text::joined(files.chat_template.render(asked.messages, options)) << "\n"
            << batch.ids.size() << " ids:\n"
            << fmt::format("[{}]", fmt::join(batch.ids, ", ")) << std::endl;
}

/// UsageError for flags that contradict each other; a note for each that has no effect next to another.
void settle(const Flags& s) {
  if (s.show_prompt && !s.prompt) io::usage("--show-prompt wants --prompt, the question");
  if (s.greedy && s.temperature.value_or(0) > 0)
    io::usage("--greedy and --temperature ", io::show_value(*s.temperature),
              ": the first means temperature 0: keep one");
  const bool greedy = s.greedy || s.temperature == 0.0;
  for (const auto& [flag, is_given] :
       {std::pair("--top-p", s.top_p.has_value()), {"--top-k", s.top_k.has_value()}, {"--seed", s.seed.has_value()}})
    if (greedy && is_given) note(cat(flag, " has no effect: the most probable token is always taken"));
  for (const auto& [flag, is_given] : {std::pair("--greedy", s.greedy),
                                       {"--temperature", s.temperature.has_value()},
                                       {"--max-tokens", s.max_tokens != Flags{}.max_tokens},
                                       {"--adapter", !s.adapters.empty()},
                                       {"--dtype", s.dtype != "auto"},
                                       {"--device", s.device != "auto"}})
    if (s.show_prompt && is_given) note(cat(flag, " has no effect: --show-prompt answers nothing"));
}

Flags parse(const std::vector<std::string>& words) {
  auto settings = io::parse_flags<Flags>(flags, words, {"model"});
  settle(settings);
  return settings;
}

int run(Flags& settings) {
  const std::vector<std::filesystem::path> model{settings.model};
  for (const auto& text : hub::unused_options(settings.hub, model, settings.adapters)) note(text);
  settings.model = hub::resolve_model(settings.model, settings.hub);
  for (auto& adapter : settings.adapters) adapter = hub::resolve_model(adapter, settings.hub.of_adapters());
  if (settings.show_prompt) return show_prompt(settings), 0;
  Chat chat(settings);
  if (settings.prompt)
    chat.ask(*settings.prompt);
  else
    converse(chat);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return io::run_program(
      {"lamina-chat", "--model DIR [--option VALUE]...",
       "Asks a vision-language model; without --prompt it reads lines.\n\n" + io::help_lines<Flags>(flags, "--")},
      argc, argv, parse, run);
}
