// lamina-train: fine-tunes a model with the settings of a LLaMA-Factory training file. See --help.
#include <lamina/model/session.hpp>
#include <lamina/train/program.hpp>

int main(int argc, char** argv) { return lamina::train::train_main(argc, argv, lamina::open_for_training); }
