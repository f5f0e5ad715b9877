#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/options.hpp>
#include <lamina/data/order/mix.hpp>
#include <lamina/data/order/pack.hpp>
#include <lamina/data/order/split.hpp>
#include <lamina/data/read/records.hpp>
#include <lamina/data/read/registry.hpp>
#include <lamina/data/read/row_reader.hpp>
#include <lamina/data/read/stage.hpp>
#include <lamina/data/report.hpp>
#include <lamina/data/sample/encode.hpp>
#include <lamina/data/sample/encoded_sample.hpp>
#include <lamina/data/sample/hub_media.hpp>
#include <lamina/data/sample/media_check.hpp>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace lamina::data {

/// A named set of samples to evaluate on.
struct EvalSet {
  std::string name;  ///< "" for one set, else the data set's name (eval_on_each_dataset)
  std::vector<EncodedSample> samples;
};

/// What training reads.
struct Datasets {
  std::vector<EncodedSample> train;
  std::vector<EvalSet> eval;
  std::vector<EncodedSample> questions;  ///< the evaluation rows, their last answers to be predicted
  std::vector<std::string> notes;        ///< what was left out and why; for the user
};

namespace detail {

using Encode = Encoded (Encoder::*)(const Conversation&);

/// How training and evaluation encode the conversations of a stage.
inline Encode encode_of(Stage stage) {
  return stage == Stage::dpo ? &Encoder::encode_pair : stage == Stage::kto ? &Encoder::encode_judged : &Encoder::encode;
}

/// A record as training and evaluation read it. before: of stage kto, the record whose answer is the baseline.
inline Encoded encode_row(const RegisteredRow& source, const RegisteredRow& before, const DataOptions& options,
                          Encoder& encoder, Encode encode) {
  if (options.stage != Stage::pt) {
    Converted converted = convert(source.row, *source.info, encoder.layout().tools);
    if (auto* dropped = std::get_if<Dropped>(&converted)) return *dropped;
    auto& conversation = std::get<Conversation>(converted);
    if (options.stage == Stage::kto) {
      Converted other = convert(before.row, *before.info, encoder.layout().tools);
      if (std::get_if<Dropped>(&other))
        return Dropped{"the record before it, whose answer is its baseline, is left out"};
      conversation.baseline = std::get<Conversation>(other).turns.back();
    }
    return (encoder.*encode)(conversation);
  }
  const PretrainingText text = pretraining_text(source.row, *source.info, encoder.layout().tools);
  if (const auto* dropped = std::get_if<Dropped>(&text)) return *dropped;
  const auto most = options.packs() ? std::string::npos : static_cast<std::size_t>(options.most_tokens());
  return encoder.encode_text(std::get<std::string>(text), most, source.row.origin());
}

/// Converts and encodes records; wrong ones go to the report.
inline std::vector<EncodedSample> encoded(const std::vector<const RegisteredRow*>& sources, const DataOptions& options,
                                          Encoder& encoder, Encode encode, DatasetReport& report) {
  std::vector<EncodedSample> samples;
  const PreprocessingBatches batches{.rows = std::ssize(sources),
                                     .batch_size = options.preprocessing_batch_size,
                                     .workers = options.preprocessing_num_workers};
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const RegisteredRow* const source = sources[i];
    const std::string origin = source->row.origin();
    try {
      const auto before = static_cast<std::size_t>(batches.row_before(static_cast<std::int64_t>(i)));
      Encoded result = encode_row(*source, *sources[before], options, encoder, encode);
      if (const auto* dropped = std::get_if<Dropped>(&result)) {
        report.drop(origin, dropped->reason);
      } else {
        samples.push_back(std::move(std::get<EncodedSample>(result)));
        samples.back().preprocessing_batch = batches.first_row(static_cast<std::int64_t>(i));
      }
    } catch (const Error& error) {
      report.wrong(origin, error.what());
    }
  }
  return samples;
}

inline std::vector<const RegisteredRow*> chosen(const std::vector<RegisteredRow>& sources,
                                                const std::vector<int>& rows) {
  std::vector<const RegisteredRow*> out;
  for (const int row : rows) out.push_back(&sources[row]);
  return out;
}

inline std::vector<const RegisteredRow*> all_of(const std::vector<RegisteredRow>& sources) {
  std::vector<const RegisteredRow*> out;
  for (const RegisteredRow& source : sources) out.push_back(&source);
  return out;
}

/// Looks every name up before any file is read.
inline std::vector<DatasetInfo> find_all(const Registry& registry, const std::vector<std::string>& names) {
  std::vector<DatasetInfo> infos;
  for (const std::string& name : names) infos.push_back(registry.find(name));
  return infos;
}

inline std::vector<const DatasetInfo*> pointers(const std::vector<DatasetInfo>& infos) {
  std::vector<const DatasetInfo*> out;
  for (const DatasetInfo& info : infos) out.push_back(&info);
  return out;
}

/// Keys of the entries that have no effect, each reported once.
inline std::vector<std::string> registry_notes(const std::vector<DatasetInfo>& train,
                                               const std::vector<DatasetInfo>& eval) {
  std::vector<std::string> notes;
  for (const auto* infos : {&train, &eval}) {
    for (const DatasetInfo& info : *infos) {
      for (const std::string& note : info.notes) {
        if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
      }
    }
  }
  return notes;
}

/// Encodes evaluation rows for all that is done with them. What is wrong with one is said once.
inline void add_evaluation(const std::string& name, const std::vector<const RegisteredRow*>& sources,
                           const DataOptions& options, Encoder& encoder, DatasetReport& report, Datasets& out) {
  if (options.evaluate)
    out.eval.push_back({name, encoded(sources, options, encoder, encode_of(options.stage), report)});
  if (!options.predict) return;
  DatasetReport said_above;
  const auto questions =
      encoded(sources, options, encoder, &Encoder::encode_question, options.evaluate ? said_above : report);
  out.questions.insert(out.questions.end(), questions.begin(), questions.end());
}

/// `dataset`, with the records of val_size as the one set to evaluate on.
inline void load_train(const std::vector<DatasetInfo>& infos, const DataOptions& options, RowReader& reader,
                       Encoder& encoder, DatasetReport& report, Datasets& out) {
  const std::vector<RegisteredRow> sources = merged(pointers(infos), options, reader);
  const SplitRows split = split_rows(static_cast<int>(sources.size()), options.val_size, options.seed);
  out.train = encoded(chosen(sources, split.train), options, encoder, encode_of(options.stage), report);
  if (!split.validation.empty()) add_evaluation("", chosen(sources, split.validation), options, encoder, report, out);
}

/// `eval_dataset` as one set, or one set each.
inline void load_eval(const std::vector<DatasetInfo>& infos, const DataOptions& options, RowReader& reader,
                      Encoder& encoder, DatasetReport& report, Datasets& out) {
  if (!options.eval_on_each_dataset) {
    const std::vector<RegisteredRow> sources = merged(pointers(infos), options, reader);
    add_evaluation("", all_of(sources), options, encoder, report, out);
    return;
  }
  DataOptions alone = options;
  alone.mix_strategy = "concat", alone.interleave_probs.clear();
  for (const DatasetInfo& info : infos) {
    const std::vector<RegisteredRow> sources = merged({&info}, alone, reader);
    add_evaluation(info.name, all_of(sources), options, encoder, report, out);
  }
}

/// Decodes all images and videos; records with a broken one go to the report, each once. Returns what else is to be
/// said of them.
inline std::vector<std::string> leave_out_broken_media(const DataOptions& options, DatasetReport& report,
                                                       Datasets& out) {
  std::vector<std::vector<EncodedSample>*> sets{&out.train, &out.questions};
  for (EvalSet& set : out.eval) sets.push_back(&set.samples);
  const MediaCheck check = check_media_files({sets.begin(), sets.end()}, options.progress);
  std::set<std::string> reported;
  for (std::vector<EncodedSample>* samples : sets)
    remove_broken(*samples, check, [&](const std::string& origin, const std::string& message) {
      if (reported.insert(origin).second) report.wrong(origin, message);
    });
  return media_notes(check);
}

/// The samples packed, if that was asked for.
inline std::vector<EncodedSample> packed(const DataOptions& options, std::vector<EncodedSample> samples) {
  if (!options.packs()) return samples;
  return options.stage == Stage::pt ? cut_into_blocks(samples, static_cast<std::size_t>(options.most_tokens()))
                                    : pack(std::move(samples), options.most_tokens(), options.neat_packing);
}

/// Packs what is trained and evaluated on; a line says what it came to.
inline std::vector<std::string> pack_all(const DataOptions& options, Datasets& out) {
  if (!options.packs()) return {};
  const std::size_t before = out.train.size();
  out.train = packed(options, std::move(out.train));
  for (EvalSet& set : out.eval) set.samples = packed(options, std::move(set.samples));
  if (before == 0) return {};
  return {
      cat("packing: ", before, " samples to train on became ", out.train.size(), " of at most ", options.most_tokens(),
          " tokens",
          options.neat_packing ? "" : ", whose tokens see the samples before them (neat_packing keeps them apart)")};
}

inline Encoder make_encoder(const DataOptions& options, const text::Tokenizer& tokenizer,
                            const vision::Processor& processor) {
  const EncodeOptions how{.cutoff_len = options.most_tokens(),
                          .train_on_prompt = options.train_on_prompt,
                          .mask_history = options.mask_history,
                          .enable_thinking = options.enable_thinking,
                          .preserve_thinking = options.preserve_thinking};
  return Encoder(tokenizer, ChatLayout::named(options.template_name, options.default_system), how,
                 {processor, options.images, options.videos}, options.media_folder());
}

inline std::optional<std::string> thinking_note(const DataOptions& options) {
  const ChatLayout layout = ChatLayout::named(options.template_name);
  if (!layout.reasoning || !options.enable_thinking.value_or(false)) return std::nullopt;
  return cat("template ", options.template_name,
             " teaches an empty thought in front of answers that have none: for an Instruct model take ", layout.plain);
}

}  // namespace detail

/// Reads, checks and encodes everything that a run needs, in one pass before training: all wrong records are reported
/// together. Images and videos are measured by their headers, then each is decoded once to see that it can be; what
/// training uses is decoded again in collate(). source  LLaMA-Factory, data/loader.py
inline Datasets load_datasets(const DataOptions& options, const text::Tokenizer& tokenizer,
                              const vision::Processor& processor) {
  check(options);
  const Registry registry = Registry::load(options.dataset_dir);
  const auto train_infos = detail::find_all(registry, options.dataset);
  const auto eval_infos = detail::find_all(registry, options.eval_dataset);
  Encoder encoder = detail::make_encoder(options, tokenizer, processor);
  DatasetReport report;
  Datasets out;
  detail::RowReader reader(options, report);
  if (!train_infos.empty()) detail::load_train(train_infos, options, reader, encoder, report, out);
  if (!eval_infos.empty()) detail::load_eval(eval_infos, options, reader, encoder, report, out);
  const std::vector<std::string> about_images = detail::leave_out_broken_media(options, report, out);
  if (!options.skip_bad_samples) report.refuse_wrong();
  if (!train_infos.empty() && out.train.empty()) fail("dataset: no valid sample is left to train on\n", report.text());
  for (const EvalSet& set : out.eval) {
    if (set.samples.empty()) fail("evaluation set ", set.name, ": no valid sample is left\n", report.text());
  }
  if (options.predict && out.questions.empty()) fail("do_predict: no valid record is left to answer\n", report.text());
  const std::vector<std::string> about_packing = detail::pack_all(options, out);
  if (!train_infos.empty() && out.train.empty())
    fail("dataset: its texts do not fill one row of ", options.most_tokens(), " tokens: lower cutoff_len, or set ",
         "packing: false");
  out.notes = detail::registry_notes(train_infos, eval_infos);
  for (std::string& note : report.notes()) out.notes.push_back(std::move(note));
  out.notes.insert(out.notes.end(), about_images.begin(), about_images.end());
  out.notes.insert(out.notes.end(), about_packing.begin(), about_packing.end());
  if (auto line = detail::thinking_note(options)) out.notes.push_back(std::move(*line));
  return out;
}

}  // namespace lamina::data
