#pragma once
#include <fmt/format.h>
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <lamina/checkpoint/companions.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/data/tokenized.hpp>
#include <lamina/hub/resolve.hpp>
#include <lamina/io/program/program.hpp>
#include <lamina/model/config/read.hpp>
#include <lamina/parallel/open_group.hpp>
#include <lamina/parallel/processors.hpp>
#include <lamina/text/same_tokens.hpp>
#include <lamina/text/tokenizer.hpp>
#include <lamina/train/loop.hpp>
#include <lamina/train/loop/dataset_source.hpp>
#include <lamina/train/loop/stream_source.hpp>
#include <lamina/train/pissa.hpp>
#include <lamina/train/predict.hpp>
#include <lamina/train/program/new_tokens.hpp>
#include <lamina/train/program/notes.hpp>
#include <lamina/train/program/request.hpp>
#include <lamina/train/program/resume_path.hpp>
#include <lamina/train/program/run_page.hpp>
#include <lamina/train/program/same_run.hpp>
#include <lamina/train/report/evaluation_log.hpp>
#include <lamina/train/report/memory_report.hpp>
#include <lamina/train/report/plot.hpp>
#include <lamina/train/report/sample_text.hpp>
#include <lamina/train/save/continued_adapter.hpp>
#include <lamina/train/save/model_writer.hpp>

namespace lamina::train {

using OpenSession = std::function<std::unique_ptr<TrainSession>(const std::filesystem::path&, const TrainableOptions&)>;

/// What opens models: to train and evaluate, and to answer.
struct Openers {
  OpenSession train;
  OpenAnswers answers;
  OpenRunPage page;
  std::function<VisualTokens(const std::filesystem::path&)> visual_tokens;  ///< of a model's directory
};

/// One run of lamina-train, from arguments to reports. Of several ranks the first alone reports and writes.
class TrainProgram {
 public:
  TrainProgram(Arguments arguments, Openers open, std::ostream& out, parallel::Group& group)
      : a_(std::move(arguments)),
        open_(std::move(open)),
        group_(group),
        console_(group.first() ? out : silent_, Console::for_terminal() && !a_.disable_tqdm.value_or(false)) {}

  /// The process's exit status: 0, or 130 after an interruption. describe: a dry run prints each module's plan too.
  /// watch: the address and port of the run's page.
  int run(bool dry_run, bool describe, const std::optional<PageAddress>& watch) {
    io::Settings words = a_.given;
    if (dry_run) words["--dry-run"].value = true;
    require_same_settings(words, group_);
    share_processors();
    for (const std::string& note : a_.notes) console_.line("note: " + note);
    note_launcher();
    use_folders();
    for (const std::string& note : overridden_settings(a_)) console_.line("note: " + note);
    std::optional<std::filesystem::path> from;
    require_other_folder(a_);
    if (!dry_run) {
      if (group_.first()) require_writable(a_.output_dir);
      if (group_.first() && watch) serve_page(*watch);
      if (a_.do_train) from = shared_resume_path();
    }
    load();
    if (a_.print_param_status && session_)
      for (const std::string& line : parameter_lines(*session_)) console_.line(line);
    if (describe && session_) console_.stream() << session_->describe();
    if (dry_run) return 0;
    if (a_.do_train && !train(from)) return 130;
    if (a_.do_eval && !a_.predict_with_generate) evaluate();
    session_.reset();  // its memory is needed to answer
    if (a_.generates() && !predict()) return 130;
    return 0;
  }

  /// Prints the record of that number, from 1, as training reads it. No model is opened.
  void show_prompt(std::int64_t number) {
    use_folders();
    load_data();
    const auto samples = stream_ ? stream_->batch(static_cast<std::size_t>(number), false) : datasets_.train;
    if (number > std::ssize(samples))
      fail("--show-prompt ", number, ": there are ", samples.size(), " records to train on");
    print_sample(console_.stream(), samples[static_cast<std::size_t>(number) - 1], *tokenizer_);
  }

 private:
  /// Ranks of one host share its processors, unless OMP_NUM_THREADS says how many each takes.
  void share_processors() {
    processors_ = parallel::own_processors(group_);
    if (group_.size() > 1 && !std::getenv("OMP_NUM_THREADS")) use_threads(processors_);
  }

  /// The run goes on without a page that cannot be served: one can be opened next to it at any time.
  void serve_page(const PageAddress& at) {
    try {
      page_ = open_.page(a_.output_dir, at, PageSignals::ignored);
      console_.line(cat("This run at ", page_->url()));
    } catch (const Error& e) {
      console_.line(cat("warning: --watch: ", e.what(),
                        "; the run goes on without its page, which lamina-train --watch ", "PORT ",
                        a_.output_dir.string(), " opens at any time"));
    }
  }

  /// resume_path() as the first rank finds it.
  std::optional<std::filesystem::path> shared_resume_path() {
    const auto mine = group_.first() ? resume_path(a_, console_) : std::nullopt;
    const std::string path = group_.broadcast(mine ? mine->string() : "");
    return path.empty() ? std::nullopt : std::optional<std::filesystem::path>(path);
  }

  /// LLaMA-Factory starts processes itself if it is asked to; this program is started as many times.
  void note_launcher() {
    const char *asked = std::getenv("FORCE_TORCHRUN"), *processes = std::getenv("NPROC_PER_NODE");
    if (group_.size() == 1 && asked && io::word_as_flag(asked).value_or(false))
      console_.line(cat("note: FORCE_TORCHRUN: this program starts no others, so it runs as one process; for several ",
                        "type torchrun --no-python --nproc-per-node ", processes ? processes : "N",
                        " lamina-train FILE.yaml"));
  }

  /// Puts folders in place of what a hub is to be asked for: the first rank of a host fetches it, the others find it.
  void use_folders() {
    const bool fetches = group_.place().local_rank == 0;
    if (!fetches) group_.barrier();
    find_folders();
    if (fetches) group_.barrier();
  }
  void find_folders() {
    std::vector<std::filesystem::path> revised = a_.adapter_name_or_path;
    revised.insert(revised.begin(), a_.model_name_or_path);
    for (const auto& text :
         hub::unused_options({.revision = a_.hub.revision}, revised))  // the rest is for data sets too
      console_.line("note: " + text);
    a_.model_name = a_.model_name_or_path.string();
    a_.model_name_or_path = hub::resolve_model(a_.model_name_or_path, a_.hub);
    for (auto& adapter : a_.adapter_name_or_path) adapter = hub::resolve_adapter(adapter, a_.adapter_folder, a_.hub);
  }

  void load_data() {
    config_ = ModelConfig::load(a_.model_name_or_path);
    checkpoint::require_whole_companions(a_.model_name_or_path);
    tokenizer_.emplace(tokenizer_with_new_tokens(a_, config_, [this](const std::string& s) { console_.line(s); }));
    text::require_same_tokens(config_, *tokenizer_, a_.model_name_or_path);
    auto& processor = processor_.emplace(vision::Processor::load(a_.model_name_or_path, config_.family->processor));
    processor.require_patches_of(config_.vision_config, a_.model_name_or_path);
    if (a_.template_name.empty()) a_.template_name = any_template(*config_.family);  // stage: pt writes no turns
    data::DataOptions options = data_options(a_);
    if (processor.reads_images())
      processor.set_visual_tokens(open_.visual_tokens(a_.model_name_or_path), a_.model_name_or_path);
    options.videos.tokens_per_second = config_.tokens_per_second;
    options.progress = [this](const std::string& line) { console_.line(line); };
    if (a_.streaming)
      stream_ = data::open_stream(options, *tokenizer_, processor, datasets_);
    else if (a_.tokenized_path.empty())
      datasets_ = data::load_datasets(options, *tokenizer_, processor);
    else
      datasets_ = data::load_tokenized(a_.tokenized_path, options, *tokenizer_, processor, group_.first());
    for (const std::string& note : datasets_.notes) console_.line(note);
  }

  void load() {
    load_data();
    const data::Preparation preparation{
        *processor_, {.max_pixels = a_.image_max_pixels, .min_pixels = a_.image_min_pixels}, config_.vision_tokens()};
    if (a_.generates()) {
      questions_.emplace(datasets_.questions, preparation, 1, a_.dataloader_num_workers, group_.place());
      console_.line(cat("records to answer: ", detail::with_thousands(questions_->rows())));
      if (const auto line = cut_questions_note(datasets_.questions, a_.cutoff_len)) console_.line(*line);
    }
    if (!a_.do_train && !a_.evaluates_loss()) return;
    if (const auto line = layers_note(a_, config_)) console_.line(*line);
    TrainableOptions options_of_session = trainable_options(a_);
    options_of_session.group = &group_;
    if (a_.pissa_init)
      options_of_session.first_values = [this](ModelSource& source, const TrainableOptions& options) {
        start_from_principal_parts(source, options, a_.pissa_iter);
      };
    session_ = open_.train(a_.model_name_or_path, options_of_session);
    if (!session_->on_device() && !group_.needs_gpus().empty()) fail(group_.needs_gpus());
    if (session_->on_device()) use_one_thread();
    const int workers = data_workers(a_.dataloader_num_workers, session_->on_device(), processors_);
    for (const data::EvalSet& set : datasets_.eval) {
      if (!a_.evaluates_loss()) break;
      eval_.emplace_back(set.samples, preparation, a_.per_device_eval_batch_size, workers, group_.place(),
                         a_.dataloader_drop_last);
      evaluations_.push_back({eval_prefix(set.name), eval_.back()});
    }
    const double trainable = static_cast<double>(session_->trainable_count()),
                 all = static_cast<double>(session_->param_count());
    console_.line(cat("trainable params: ", detail::with_thousands(session_->trainable_count()),
                      " || all params: ", detail::with_thousands(session_->param_count()),
                      " || trainable%: ", fmt::format("{:.4f}", 100 * trainable / all)));
    if (!a_.do_train) return;
    const LargestWindow largest = open_train(preparation, workers);
    print_memory(console_.stream(),
                 session_->plan(static_cast<int>(largest.tokens), static_cast<int>(largest.sequences),
                                static_cast<int>(largest.patches)),
                 largest.tokens, largest.sequences, largest.patches);
  }

  /// Opens the training rows; returns the largest window, of a stream that of the first ones.
  LargestWindow open_train(const data::Preparation& preparation, int workers) {
    if (stream_) {
      console_.line(
          cat("streaming: the memory plan is for the largest of the first ", stream_windows_planned, " steps"));
      auto source = std::make_unique<StreamSource>(std::move(stream_), preparation, a_, workers, group_.place());
      const LargestWindow largest = source->largest(stream_windows_planned);
      train_ = std::move(source);
      return largest;
    }
    require_same_samples(datasets_.train, group_);
    auto source = std::make_unique<DatasetSource>(datasets_.train, preparation, a_, workers, group_.place());
    const StepCounts steps = count_steps(a_, source->rows(), group_.size());
    const LargestWindow largest = source->largest(std::min<std::int64_t>(steps.epochs, 3));
    train_ = std::move(source);
    return largest;
  }
  static constexpr int stream_windows_planned = 8;

  /// False after an interruption.
  bool train(const std::optional<std::filesystem::path>& from) {
    const ModelWriter writer(a_, *session_, *config_.family);
    const double embeddings = static_cast<double>(config_.text_config.vocab_size) * config_.text_config.hidden_size;
    std::optional<Trackers> trackers;
    if (group_.first()) trackers.emplace(a_, console_);
    Trainer trainer(a_, {.session = *session_,
                         .train = *train_,
                         .evaluations = evaluations_,
                         .console = console_,
                         .save_model = [&](const std::filesystem::path& to,
                                           const OrderedJson& history) { writer.save(to, history); },
                         .flops_per_token = 6 * (static_cast<double>(session_->param_count()) - embeddings),
                         .trackers = trackers ? &*trackers : nullptr,
                         .group = group_});
    if (a_.pissa_init && group_.first()) writer.save_first_adapter(a_.output_dir / "pissa_init");
    if (from) trainer.resume(*from);
    const TrainingResult outcome = trainer.run();
    if (trackers) trackers->finish(outcome.ending != Ending::interrupted);
    if (outcome.ending == Ending::interrupted) return false;
    history_ = outcome.state.log_history;
    state_ = outcome.state;
    require_same_weights(*session_, group_);
    session_->gather_state();
    if (!group_.first()) return true;
    writer.save(a_.output_dir, history_);
    if (a_.pissa_init) write_converted(a_.output_dir / "pissa_converted", a_.output_dir / "pissa_init", a_.output_dir);
    print_metrics(console_.stream(), "train", outcome.metrics);
    save_metrics(a_.output_dir, "train", outcome.metrics);
    io::write_text(a_.output_dir / "trainer_state.json", to_text(outcome.state));
    if (a_.plot_loss) {
      console_.line(plot_curve(a_.output_dir, history_, "loss"));
      if (a_.learns_preferences())
        console_.line(plot_curve(a_.output_dir, history_, a_.stage == "dpo" ? "rewards/accuracies" : "rewards/chosen"));
      for (const std::string& key : a_.eval_metrics()) console_.line(plot_curve(a_.output_dir, history_, key));
    }
    console_.line(cat("Saved in ", a_.output_dir.string()));
    return true;
  }

  void evaluate() {
    if (eval_.empty()) fail("do_eval: there are no rows to evaluate on: raise val_size or set eval_dataset");
    std::int64_t batches = 0, done_before = 0;
    for (const DatasetEvalSource& source : eval_) batches += source.batches();
    auto log = evaluation_log(batches);
    OrderedJson metrics;
    for (const EvalPart& part : evaluations_) {
      metrics.update(evaluate_all(*session_, part, group_, [&](std::int64_t done) {
        if (log) log->batch_done(done_before + done);
      }));
      done_before += part.source.batches();
    }
    if (group_.first()) report_evaluation(metrics, log);
  }

  /// A log of its own, unless this run has trained: trainer_log.jsonl then ends with the training.
  std::optional<EvaluationLog> evaluation_log(std::int64_t batches) const {
    if (state_ || !group_.first()) return std::nullopt;
    return EvaluationLog(a_.output_dir, a_.overwrite_output_dir, batches);
  }
  /// Without training the epoch and the tokens are 0.
  void report_evaluation(OrderedJson metrics, std::optional<EvaluationLog>& log) {
    metrics["epoch"] = state_ ? OrderedJson(state_->epoch) : OrderedJson(0);
    if (a_.include_num_input_tokens_seen) metrics["num_input_tokens_seen"] = state_ ? state_->num_input_tokens_seen : 0;
    if (log) log->result(metrics);
    print_metrics(console_.stream(), "eval", metrics);
    save_metrics(a_.output_dir, "eval", metrics);
  }

  /// One pass of answers serves do_eval and do_predict. False after an interruption. Answers come from what was
  /// written: the base model with its adapters, the trained one last, folded into the weights in memory; or the model
  /// trained as a whole.
  bool predict() {
    const bool lora = a_.finetuning_type == "lora";
    AnsweringModel model{.directory = lora || !a_.do_train ? a_.model_name_or_path : a_.output_dir,
                         .adapters = a_.adapter_name_or_path,
                         .device = a_.device,
                         .local_rank = group_.place().local_rank};
    if (lora && a_.do_train) {
      if (!a_.create_new_adapter && !model.adapters.empty()) model.adapters.pop_back();
      model.adapters.push_back(a_.pissa_init ? a_.output_dir / "pissa_converted" : a_.output_dir);
    }
    group_.barrier();  // the first rank has written what is read now
    const AskModel ask = open_.answers(model, a_.answers, *tokenizer_);
    const std::int64_t batch = a_.per_device_eval_batch_size;
    auto log = evaluation_log(data::batches_of(questions_->rows(), batch, false));
    const auto predicted =
        predict_all({.samples = datasets_.questions,
                     .prompts = *questions_,
                     .tokenizer = *tokenizer_,
                     .ask = ask,
                     .console = console_,
                     .group = group_,
                     .jieba_dictionary = a_.jieba_dictionary,
                     .answered =
                         [&](std::int64_t n) {
                           if (log && (n % batch == 0 || n == questions_->rows()))
                             log->batch_done((n + batch - 1) / batch);
                         }},
                    a_.do_predict ? std::optional(a_.output_dir) : std::nullopt, a_.answers.skip_special_tokens);
    if (!predicted) return false;
    if (!group_.first()) return true;
    if (a_.do_eval) report_evaluation(predicted->metrics("eval", batch), log);
    if (!a_.do_predict) return true;
    const OrderedJson metrics = predicted->metrics("predict", batch);
    print_metrics(console_.stream(), "predict", metrics);
    save_metrics(a_.output_dir, "predict", metrics);
    console_.line(cat("Answers in ", (a_.output_dir / "generated_predictions.jsonl").string()));
    return true;
  }

  Arguments a_;
  Openers open_;
  parallel::Group& group_;
  std::unique_ptr<RunPage> page_;
  std::ostream silent_{nullptr};
  Console console_;
  int processors_ = 1;  // of this rank
  ModelConfig config_;
  std::optional<text::Tokenizer> tokenizer_;
  std::optional<vision::Processor> processor_;
  data::Datasets datasets_;
  std::unique_ptr<data::SampleStream> stream_;  // of the training rows, until train_ takes it
  std::unique_ptr<TrainSession> session_;
  std::unique_ptr<TrainSource> train_;
  std::optional<DatasetEvalSource> questions_;
  std::deque<DatasetEvalSource> eval_;  // one of each of datasets_.eval, if their loss is wanted
  std::vector<EvalPart> evaluations_;   // the same with their names
  OrderedJson history_ = OrderedJson::array();
  std::optional<TrainerState> state_;  // after training
};

/// Serves the page of a run's folder until Ctrl-C.
inline int watch_folder(const std::filesystem::path& folder, const PageAddress& at, const OpenRunPage& open) {
  const auto page = open(folder, at, PageSignals::end_it);
  std::cout << folder.string() << " at " << page->url() << std::endl;
  page->wait();
  return 0;
}

/// main() of lamina-train, given the functions that open a model.
inline int train_main(int argc, char** argv, const Openers& open) {
  return io::run_program(
      {"lamina-train",
       "FILE.yaml|FILE.json [key=value ...] [--dry-run [--describe] | --show-prompt N | --watch PORT], or --key value "
       "..., or --watch PORT FOLDER",
       std::string(help)},
      argc, argv, read_train_request, [&](TrainRequest& request) {
        if (request.keys) return std::cout << keys_text(), 0;
        if (!request.watched_folder.empty()) return watch_folder(request.watched_folder, *request.watch, open.page);
        const parallel::OpenedGroup ranks = parallel::open_group(parallel::find_launch(), request.arguments.ddp_timeout,
                                                                 "; the last checkpoint can be resumed");
        TrainProgram program(std::move(request.arguments), open, std::cout, *ranks.group);
        if (request.show_prompt > 0) return program.show_prompt(request.show_prompt), 0;
        return program.run(request.dry_run, request.describe, request.watch);
      });
}

}  // namespace lamina::train
