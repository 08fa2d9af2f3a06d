// Plays a file of raw 32-bit floats with the bundle, or tests the bundle.
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "bundle.h"
#include "join.h"
#include "window.h"

namespace {

const char* const USAGE =
    "run BUNDLE INPUT OUTPUT     plays a file\n"
    "run BUNDLE --self-test      tries every back end on the golden window\n"
    "\n"
    "INPUT holds 32-bit floats, little-endian, without a header: the rows of the input one after\n"
    "the other (the whole left channel, then the whole right one, say). OUTPUT gets the rows of\n"
    "the output in the same way. metadata.json names the rows and their rate.\n";

// Runs windows, and says now and then how many are done.
class Counted {
 public:
  Counted(Window& window, size_t values) : window_(window) {
    const int64_t each = bundle::STRIDE * rows();
    if (each > 0) total_ = (static_cast<int64_t>(values) + each - 1) / each;
  }

  std::vector<float> run(std::vector<float>& piece) {
    auto made = window_.run(piece);
    ++done_;
    const auto now = std::chrono::steady_clock::now();
    if (now - told_ > std::chrono::seconds(10)) {
      told_ = now;
      std::cerr << "window " << done_;
      if (total_ > 0) {
        const std::chrono::duration<double> passed = now - started_;
        std::cerr << " of " << total_ << ", "
                  << std::llround(passed.count() / static_cast<double>(done_) *
                                  static_cast<double>(total_ - done_))
                  << " s left";
      }
      std::cerr << '\n';
    }
    return made;
  }

 private:
  static int64_t rows() {
    int64_t rows = 1;
    const auto& shape = bundle::INPUT_SHAPE;
    for (size_t axis = 0; axis + 1 < shape.size(); ++axis) rows *= shape[axis];
    return rows;
  }

  Window& window_;
  int64_t done_ = 0, total_ = 0;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now(),
                                        told_ = started_;
};

std::vector<float> read(const std::string& name) {
  std::ifstream source(name, std::ios::binary | std::ios::ate);
  if (!source) throw BundleError(name + " cannot be read");
  const auto size = static_cast<size_t>(source.tellg());
  std::vector<float> input(size / sizeof(float));
  source.seekg(0).read(reinterpret_cast<char*>(input.data()),
                       static_cast<std::streamsize>(input.size() * sizeof(float)));
  if (!source) throw BundleError(name + " cannot be read to its end");
  // A file of sound holds bytes that are floats, too: played as such they would be noise.
  const auto begins = [&](const char* magic) {
    const size_t length = std::strlen(magic);
    return size >= length && std::memcmp(input.data(), magic, length) == 0;
  };
  const bool sound = begins("RIFF") || begins("RF64") || begins("fLaC") || begins("OggS") ||
                     begins("ID3") || begins("FORM") || begins("\xff\xfb");
  int64_t rows = 1;
  for (size_t axis = 0; axis + 1 < bundle::INPUT_SHAPE.size(); ++axis)
    rows *= bundle::INPUT_SHAPE[axis];
  if (sound || size % (sizeof(float) * static_cast<size_t>(rows)) != 0 || input.empty())
    throw BundleError(name + (sound ? " is a file of sound" : " does not hold whole rows of floats") +
                      ": this program takes " + std::to_string(rows) +
                      " rows of 32-bit floats, one after the other; run.py of the bundle reads "
                      "other files, or see `run --help`");
  for (const float value : input)
    if (!std::isfinite(value)) throw BundleError(name + " holds values that are no numbers");
  return input;
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> given(arguments + 1, arguments + count);
  if (given.size() == 1 && given[0] == "--help") {
    std::cout << USAGE;
    return 0;
  }
  const bool tests = given.size() == 2 && given[1] == "--self-test";
  if (!tests && given.size() != 3) {
    std::cerr << USAGE;
    return 2;
  }
  try {
    if (tests) {
      std::cout << "bundle " << std::string(bundle::ID).substr(0, 12) << ", ONNX Runtime "
                << Ort::GetVersionString() << '\n';
      Window window(given[0], true, std::cout);
      if (Golden::none())
        std::cout << "this bundle has no golden window: no result was compared\n";
      std::cout << "used: " << window.used() << '\n';
      return 0;
    }
    const auto input = read(given[1]);
    Window window(given[0]);
    Counted counted(window, input.size());
    const auto output = play(counted, input);
    std::ofstream target(given[2], std::ios::binary);
    target.write(reinterpret_cast<const char*>(output.data()),
                 static_cast<std::streamsize>(output.size() * sizeof(float)));
    target.close();
    if (target.good()) return 0;
    std::cerr << given[2] << " cannot be written\n";
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
  }
  return 1;
}
