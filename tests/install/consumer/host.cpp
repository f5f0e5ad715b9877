#include <lamina/text/python_json.hpp>
#include <lamina/vision/image.hpp>

int main() { return lamina::text::python_json(nlohmann::ordered_json{1, 2}) == "[1, 2]" ? 0 : 1; }
