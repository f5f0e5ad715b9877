#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include <lamina/core/error.hpp>

#include "programs/program.hpp"
#include "support/catch.hpp"

/// lamina-train as several processes, or as one with the same settings.
namespace lamina::testing {

/// The words before a program that is to run as several ranks; empty, with a warning, if there is no MPI.
inline std::string mpirun(int ranks) {
  if (run_command("command -v mpirun").status != 0 || LAMINA_MPI == 0) {
    WARN("SKIPPED: no mpirun, or the programs were built without MPI");
    return "";
  }
  return cat("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe --bind-to none -n ",
             ranks, " ");
}

/// A short run of the tiny model: 30 samples, 2 to a micro-batch.
inline std::string train_command(const std::filesystem::path& folder, const std::string& out,
                                 const std::vector<std::string>& more) {
  std::string command =
      cat(LAMINA_BIN_DIR "/lamina-train device=cpu do_train=true stage=sft model_name_or_path=",
          (folder / "model").string(),
          " image_max_pixels=16384 dataset=tables_train dataset_dir=" LAMINA_SOURCE_DIR "/data ",
          "template=qwen3_vl_nothink cutoff_len=512 learning_rate=1e-3 logging_steps=1 disable_tqdm=true ",
          "per_device_train_batch_size=2 overwrite_output_dir=true output_dir=", (folder / out).string());
  for (const std::string& setting : more) command.append(" ").append(quoted(setting));
  return command;
}

}  // namespace lamina::testing
