// Runs a fuzz target on every file of a folder, without libFuzzer: replay FOLDER.
#include "fuzz.hpp"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <vector>

int main(int, char** argv) {
  std::vector<std::filesystem::path> files;
  for (const auto& file : std::filesystem::directory_iterator(argv[1])) files.push_back(file.path());
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    std::puts(path.c_str());
    std::fflush(stdout);  // the last line names the file that ended the program
    std::ifstream in(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  std::printf("%zu files\n", files.size());
  return files.empty() ? 1 : 0;
}
