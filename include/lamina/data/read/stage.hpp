#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/read/registry.hpp>

namespace lamina::data {

/// What a run makes of records: LLaMA-Factory's stages. Conversations, texts, pairs of answers, answers that are
/// judged.
enum class Stage { sft, pt, dpo, kto };

/// Error if an entry's records are for another stage.
inline void require_stage(const DatasetInfo& info, Stage stage) {
  const auto refuse = [&](const char* why) { fail("dataset ", info.name, ": ", why); };
  if (info.ranking && stage != Stage::dpo)
    refuse("it holds preference pairs (\"ranking\": true), which are for stage: dpo");
  if (info.columns.kto_tag && stage != Stage::kto)
    refuse("its answers are judged (\"kto_tag\"), which is for stage: kto");
  if (stage == Stage::dpo && (!info.ranking || !info.columns.chosen || !info.columns.rejected))
    refuse("stage: dpo wants \"ranking\": true and columns \"chosen\" and \"rejected\" in dataset_info.json");
  if (stage == Stage::kto && !info.columns.kto_tag)
    refuse("stage: kto wants a column \"kto_tag\" in dataset_info.json, which says whether an answer is desirable");
}

}  // namespace lamina::data
