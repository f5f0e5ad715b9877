#include <lamina/text/tokenizer.hpp>
#include <lamina/text/tokenizer/more_tokens.hpp>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace lamina;

TEST_CASE("Tokenizer: new tokens follow the highest id, and the written files hold them") {
  const std::filesystem::path base = LAMINA_SOURCE_DIR "/data/qwen2_5_vl_tiny";
  const testing::TemporaryFolder folder;
  const text::MoreTokens more{{"Wolves", "<tool_call>", "the"}, {"<row>", "Wolves"}};
  auto files = text::TokenizerFiles::read(base);
  const auto fresh = text::add_tokens(files, more);
  REQUIRE(fresh.size() == 3);  // <tool_call> is a token already, and Wolves is one by now
  const text::Tokenizer before(text::TokenizerFiles::read(base)), grown(files);
  CHECK(fresh[0].id == before.size());
  CHECK(fresh[1].id == before.id_of("the"));  // of the vocabulary
  CHECK((fresh[2].special && !fresh[2].normalized && fresh[0].normalized));
  CHECK(grown.encode("Wolves<row>") == std::vector<int>{fresh[0].id, fresh[2].id});

  text::write_with_more_tokens(base, folder.path(), more);
  const text::Tokenizer again(text::TokenizerFiles::read(folder.path()));
  const std::string_view text = "The Wolves, the <row> and\nothers";
  CHECK(again.encode(text) == grown.encode(text));
  CHECK(again.is_special(fresh[2].id));
  const std::filesystem::path adapters[] = {folder.path()}, none[] = {base};
  CHECK(text::tokenizer_folder(base, adapters) == folder.path());
  CHECK(text::tokenizer_folder(base, none) == base);
}
