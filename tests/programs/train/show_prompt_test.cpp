#include <filesystem>
#include <string>

#include "programs/program.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::testing;

TEST_CASE("programs: --show-prompt prints the prompt that is served, and the record that is trained on") {
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const std::string model = (folder.path() / "model").string();
  const Program served =
      run_program("lamina-chat", {"--model", model, "--prompt", "Hi", "--system", "S", "--image",
                                  LAMINA_SOURCE_DIR "/data/tables/heldout_0002.jpg", "--show-prompt"});
  INFO(served.output);
  CHECK(served.status == 0);
  const auto has = [&](const Program& program, const char* words) {
    return program.output.find(words) != std::string::npos;
  };
  CHECK(has(served,
            "text:\n<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Hi"
            "<|im_end|>\n<|im_start|>assistant\n"));
  CHECK(has(served, " ids:\n["));
  CHECK(run_program("lamina-chat", {"--model", model, "--show-prompt"}).status == 2);
  const auto with_variables = [&](const std::string& variables) {
    return run_program("lamina-chat", {"--model", model, "--prompt", "Hi", "--image",
                                       LAMINA_SOURCE_DIR "/data/tables/heldout_0002.jpg", "--show-prompt",
                                       "--chat-template-kwargs", variables});
  };
  CHECK(has(with_variables("{\"add_vision_id\": true}"), "<|im_start|>user\nPicture 1: <|vision_start|>"));
  CHECK(has(with_variables("{\"add_vision_ids\": true}"), "which the chat template does not read"));
  CHECK(with_variables("[1]").status == 2);

  const auto train = [&](const std::string& number) {
    return run_program("lamina-train",
                       {LAMINA_SOURCE_DIR "/examples/configs/quickstart_lora_sft.yaml", "model_name_or_path=" + model,
                        "dataset_dir=" LAMINA_SOURCE_DIR "/data", "output_dir=" + (folder.path() / "out").string(),
                        "dataset=tables_train", "max_samples=3", "--show-prompt", number});
  };
  const Program trained = train("2");
  INFO(trained.output);
  CHECK(trained.status == 0);
  CHECK(has(trained, "inputs:\n<|im_start|>"));
  CHECK(has(trained, "label_ids:\n[-100, -100"));
  CHECK(has(trained, "<|im_end|>"));
  CHECK_FALSE(std::filesystem::exists(folder.path() / "out"));
  CHECK(train("4").status == 1);
  CHECK(train("0").status == 2);
}
