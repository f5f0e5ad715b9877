// lamina-merge: folds LoRA adapters into a base model and writes a model directory that any loader takes.
//
//     lamina-merge examples/configs/qwen3_vl_merge.yaml [key=value ...]
#include <signal.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>

#include <lamina/merge/arguments.hpp>

namespace {

volatile std::sig_atomic_t interrupted = 0;
extern "C" void on_signal(int) { interrupted = 1; }

constexpr std::string_view help = R"(usage: lamina-merge CONFIG.yaml [key=value ...]
       lamina-merge --key value ...

Folds LoRA adapters into a base model, tensor by tensor, and writes a model directory.

  model_name_or_path    folder of the base model (not a quantised one)
  adapter_name_or_path  folder of an adapter, or several separated by commas: merged in this order
  adapter_folder        folder inside each of them
  export_dir            folder to write to
  export_size           most size of a weight file, in GB (10^9 bytes)            default 5
  infer_dtype           auto, bfloat16, float16, float32: element type written    default auto: the base's
  template              qwen3_vl, qwen3_vl_nothink, qwen2_vl: for the Modelfile   default: the model's family
  export_device         cpu or auto: merging runs on the CPU either way
  export_legacy_format  accepted; weights are always safetensors

Other keys of LLaMA-Factory are accepted where they mean nothing to a merge, and refused where they would.
OMP_NUM_THREADS sets the number of threads.
)";

void show(const lamina::merge::MergeProgress& p) {
  if (interrupted) lamina::fail("interrupted: nothing was written");
  if (!::isatty(STDERR_FILENO)) return;
  std::fprintf(stderr, "\rmerging  %zu/%zu tensors  %.2f/%.2f GB ", p.tensors_done, p.tensors,
               double(p.bytes_done) / 1e9, double(p.bytes) / 1e9);
  if (p.tensors_done == p.tensors) std::fputc('\n', stderr);
}

int merge(const std::vector<std::string>& words) {
  const lamina::merge::Request request = lamina::merge::make_request(lamina::merge::read_settings(words));
  for (const std::string& note : request.notes) std::cerr << "note: " << note << "\n";
  const lamina::merge::MergeReport report = lamina::merge::run(request.options, show);
  std::cout << "merged " << report.merged_modules << " layers";
  if (report.replaced_tensors) std::cout << " and replaced " << report.replaced_tensors << " tensors";
  std::cout << " of " << report.tensors << " tensors, " << lamina::checkpoint::torch_name_of(report.dtype) << ", "
            << static_cast<double>(report.bytes) / 1e9 << " GB in " << report.seconds << " s\n"
            << "written to " << request.options.export_dir.string() << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit then reads as a full disk
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty() || words[0] == "--help" || words[0] == "-h") {
    (words.empty() ? std::cerr : std::cout) << help;
    return words.empty() ? 2 : 0;
  }
  try {
    return merge(words);
  } catch (const std::exception& e) {
    std::cerr << "lamina-merge: " << e.what() << "\n";
    return 1;
  }
}
