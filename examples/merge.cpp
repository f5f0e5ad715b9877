// lamina-merge: folds LoRA adapters into a base model and writes a model directory that any loader takes.
//
//     lamina-merge examples/configs/qwen3_vl_merge.yaml [key=value ...]
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>

#include <lamina/hub/resolve.hpp>
#include <lamina/io/program/interrupt.hpp>
#include <lamina/io/program/program.hpp>
#include <lamina/merge/arguments.hpp>

namespace {

std::string help() {
  return "Folds LoRA adapters into a base model, tensor by tensor, and writes a model directory.\n\n" +
         lamina::io::help_lines(lamina::merge::all_keys()) +
         "\nOther keys of LLaMA-Factory are accepted if they mean nothing to a merge, and refused if they would.\n"
         "OMP_NUM_THREADS sets the number of threads.\n";
}

void show(const lamina::merge::MergeProgress& p) {
  if (lamina::io::InterruptGuard::requested()) throw lamina::io::Interrupted("interrupted: nothing was written");
  if (!::isatty(STDERR_FILENO)) return;
  std::fprintf(stderr, "\rmerging  %zu/%zu tensors  %.2f/%.2f GB ", p.tensors_done, p.tensors,
               double(p.bytes_done) / 1e9, double(p.bytes) / 1e9);
  if (p.tensors_done == p.tensors) std::fputc('\n', stderr);
}

lamina::merge::MergeArguments parse(const std::vector<std::string>& words) {
  if (words.empty()) lamina::io::usage("no settings are given: name a .yaml or .json file first");
  return lamina::merge::make_arguments(words);
}

/// Puts folders in place of what a hub is to be asked for; the model card keeps the names.
void use_folders(lamina::merge::MergeArguments& arguments) {
  lamina::merge::MergeOptions& options = arguments.options;
  options.named = {options.model_name_or_path, options.adapter_name_or_path};
  std::vector<std::filesystem::path> revised = options.adapter_name_or_path;
  revised.insert(revised.begin(), options.model_name_or_path);
  for (const auto& text : lamina::hub::unused_options(arguments.hub, revised)) lamina::note(text);
  if (!arguments.adapter_folder.empty())
    for (auto& adapter : options.named->adapters) adapter /= arguments.adapter_folder;
  options.model_name_or_path = lamina::hub::resolve_model(options.model_name_or_path, arguments.hub);
  for (auto& adapter : options.adapter_name_or_path)
    adapter = lamina::hub::resolve_adapter(adapter, arguments.adapter_folder, arguments.hub);
}

int merge(lamina::merge::MergeArguments& arguments) {
  for (const std::string& note : arguments.notes) lamina::note(note);
  use_folders(arguments);
  const lamina::io::InterruptGuard interrupt;  // after what a hub was asked for, which has its own
  const lamina::merge::MergeReport report = lamina::merge::run(arguments.options, show);
  std::cout << "merged " << report.merged_modules << " layers";
  if (report.replaced_tensors) std::cout << " and replaced " << report.replaced_tensors << " tensors";
  std::cout << " of " << report.tensors << " tensors, " << lamina::checkpoint::torch_name_of(report.dtype) << ", "
            << static_cast<double>(report.bytes) / 1e9 << " GB in " << report.seconds << " s\n"
            << "written to " << arguments.options.export_dir.string() << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit then reads as a full disk
  return lamina::io::run_program({"lamina-merge", "CONFIG.yaml [key=value ...], or --key value ...", help()}, argc,
                                 argv, parse, merge);
}
