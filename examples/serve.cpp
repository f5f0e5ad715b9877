// lamina-serve: an OpenAI-compatible server for the models of model/families.hpp, started with vLLM's command line.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <lamina/engine/model_ranks.hpp>
#include <lamina/engine/open.hpp>
#include <lamina/hub/resolve.hpp>
#include <lamina/io/program/program.hpp>
#include <lamina/serve/flags/flags.hpp>
#include <lamina/serve/http.hpp>
#include <lamina/serve/remote/media_fetcher.hpp>
#include <lamina/serve/routes/routes.hpp>
#include <lamina/text/tokenizer/more_tokens.hpp>

namespace {
using namespace lamina;

serve::ModelFiles load_files(const serve::Flags& flags) {
  auto files = serve::ModelFiles::load(
      flags.model,
      flags.tokenizer.empty() ? text::tokenizer_folder(flags.model, flags.engine.adapters) : flags.tokenizer,
      flags.chat_template);
  for (const auto& note : files.notes) log_warning("lamina-serve: ", note);
  serve::check_template_flag(flags.template_kwargs, "--default-chat-template-kwargs", &files.chat_template);
  if (flags.generation_config == "vllm") {
    files.defaults = {};
  } else if (flags.generation_config != "auto") {
    const auto path = std::filesystem::path(flags.generation_config) / "generation_config.json";
    files.defaults = {};
    files.defaults.read(io::read_json_object<nlohmann::json>(path), path.string());
  }
  files.defaults.override_with(flags.override_generation_config, "--override-generation-config");
  if (flags.min_pixels) files.processor.min_pixels = *flags.min_pixels;
  if (flags.max_pixels) files.processor.max_pixels = *flags.max_pixels;
  if (files.processor.min_pixels > files.processor.max_pixels)
    io::usage("--mm-processor-kwargs: min_pixels is ", files.processor.min_pixels, ", more than max_pixels, ",
              files.processor.max_pixels);
  if (files.processor.reads_images()) files.processor.set_visual_tokens(visual_tokens_of(flags.model), flags.model);
  return files;
}

/// Threads that make text and events of tokens.
int streamers() { return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 4, 1, 4); }

/// Fetches images of the web, if that is allowed.
serve::FetchMedia media_fetcher(const serve::Flags& flags) {
  if (!flags.remote_media) return {};
  auto options = flags.fetch;
  options.certificates = hub::detail::certificates(hub::process_environment);
  return [fetcher = std::make_shared<serve::MediaFetcher>(std::move(options))](const auto&... arguments) {
    return (*fetcher)(arguments...);
  };
}

std::string address_text(const serve::Flags& flags, int port) {
  if (!flags.uds.empty()) return cat("the Unix socket ", flags.uds.string());
  return cat(flags.tls.certfile.empty() ? "http" : "https", "://", flags.host.empty() ? "0.0.0.0" : flags.host, ":",
             port, "/v1");
}

serve::ServiceOptions service_options(const serve::Flags& flags, const serve::ModelFiles& files) {
  const bool own_config =
      flags.generation_config != "auto" || flags.override_generation_config.contains("max_new_tokens");
  return {.served_names = flags.served_model_names,
          .root = flags.model.string(),
          .response_role = flags.response_role,
          .media = {.allowed_folder = flags.allowed_local_media_path,
                    .max_image_pixels = flags.max_image_pixels,
                    .max_file_bytes = static_cast<std::uint64_t>(flags.max_body_bytes),
                    .fetch = media_fetcher(flags),
                    .background = flags.image_background,
                    .frames = flags.video_frames,
                    .kept_bytes = flags.kept_media_bytes},
          .media_bytes = flags.max_media_bytes,
          .max_images = flags.max_images,
          .max_videos = flags.max_videos,
          .max_logprobs = flags.max_logprobs,
          .seed = flags.seed,
          .max_new_tokens = own_config ? files.defaults.max_new_tokens : std::nullopt,
          .max_requests = flags.max_queued_requests,
          .engine = {.prefix_cache = flags.prefix_cache,
                     .prompt_chunk_tokens = flags.prompt_chunk_tokens,
                     .waiting_requests = flags.max_queued_requests,
                     .streamers = streamers()},
          .priorities = flags.priorities,
          .prompt_details = flags.prompt_tokens_details,
          .force_usage = flags.force_include_usage,
          .trust_chat_template = flags.trust_request_template,
          .log_requests = flags.log_requests,
          .request_defaults = {.template_kwargs = flags.template_kwargs,
                               .exclude_unused_tools = flags.exclude_unused_tools,
                               .automatic_tools = flags.automatic_tools,
                               .reasoning = !flags.reasoning_parser.empty(),
                               .return_tokens_as_ids = flags.return_tokens_as_ids,
                               .stream_interval = flags.stream_interval}};
}

/// Folders in place of what a hub is to be asked for.
serve::Flags with_folders(serve::Flags flags) {
  std::vector<std::filesystem::path> adapters = flags.engine.adapters;
  for (const auto& module : flags.lora_modules) adapters.push_back(module.path);
  const std::vector<std::filesystem::path> revised{flags.model, flags.tokenizer};
  for (const auto& text : hub::unused_options(flags.hub, revised, adapters)) log_info("lamina-serve: ", text);
  flags.model = hub::resolve_model(flags.model, flags.hub);
  flags.tokenizer = hub::resolve_model(flags.tokenizer, flags.hub, {.include = {}, .exclude = {"*.safetensors"}});
  const hub::Options of_adapters = flags.hub.of_adapters();
  for (auto& adapter : flags.engine.adapters) adapter = hub::resolve_model(adapter, of_adapters);
  for (auto& module : flags.lora_modules) module.path = hub::resolve_model(module.path, of_adapters);
  return flags;
}

int run(const serve::Flags& given) {
  if (given.help) return std::cout << *given.help, 0;
  if (given.show_version) return std::cout << version << "\n", 0;
  engine::ModelRanks ranks(given.tensor_parallel_size);
  for (const auto& line : given.log_lines) log_info("lamina-serve: ", line);
  ranks.await_fetched();
  serve::Flags flags = with_folders(given);
  ranks.start(flags.model, flags.engine.device);
  flags.engine.group = &ranks.group();
  flags.engine.local_rank = ranks.group().place().local_rank;
  if (!ranks.group().first()) return ranks.follow(*open_for_engine(flags.model, flags.engine)), 0;
  auto files = load_files(flags);
  const auto options = service_options(given, files);
  auto session = open_for_engine(flags.model, flags.engine);
  serve::ChatService service(std::move(files), std::move(session), options);
  for (const auto& module : flags.lora_modules) service.adapters().load(module);
  std::optional<serve::StatisticsLog> log;
  if (flags.log_statistics) log.emplace([&service] { return service.statistics(); });
  serve::Routes routes(service, {.api_keys = flags.api_keys,
                                 .root_path = flags.root_path,
                                 .cors = {.allowed_origins = flags.allowed_origins,
                                          .allowed_methods = flags.allowed_methods,
                                          .allowed_headers = flags.allowed_headers,
                                          .allow_credentials = flags.allow_credentials},
                                 .request_id_headers = flags.request_id_headers,
                                 .access_log = flags.access_log,
                                 .page = flags.ui,
                                 .unlogged_paths = flags.unlogged_paths,
                                 .tokenizer_info = flags.tokenizer_info,
                                 .developer = flags.developer,
                                 .load_adapters = flags.load_adapters,
                                 .docs = flags.docs,
                                 .settings = flags.settings});
  serve::HttpLimits limits;
  limits.header_bytes = static_cast<std::uint32_t>(flags.max_header_bytes);
  limits.header_count = flags.max_header_count;
  limits.body_bytes = static_cast<std::uint64_t>(flags.max_body_bytes);
  serve::HttpServer server({.host = flags.host,
                            .port = flags.port,
                            .uds = flags.uds,
                            .tls = flags.tls.certfile.empty() ? std::nullopt : std::optional(flags.tls),
                            .limits = limits,
                            .grace = std::chrono::seconds(flags.shutdown_timeout),
                            .handle_signals = true},
                           routes);
  log_info("lamina-serve: ", flags.served_model_names.front(), " (", flags.model.string(), "), at most ",
           service.max_model_len(), " tokens, on ", address_text(flags, server.port()));
  server.wait();
  if (!service.stop_within(std::chrono::seconds(5))) {
    log_warning("lamina-serve: a request does not end; leaving without it");
    std::_Exit(0);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  serve::end_at_once_on_signals();  // until the server takes them over
  return io::run_program({"lamina-serve", "[MODEL] [--option VALUE]...", serve::help_text()}, argc, argv,
                         serve::Flags::parse, run);
}
