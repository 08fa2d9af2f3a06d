// Plays a file of raw 32-bit floats with the bundle: run BUNDLE INPUT OUTPUT
//
// INPUT holds the rows of the signature's input one after the other (the left channel, then the
// right one, say), OUTPUT gets those of its output.
#include <fstream>
#include <iostream>
#include <vector>

#include "bundle.h"
#include "join.h"
#include "window.h"

int main(int count, char** arguments) {
  if (count != 4) {
    std::cerr << "run BUNDLE INPUT OUTPUT\n";
    return 2;
  }
  std::ifstream source(arguments[2], std::ios::binary | std::ios::ate);
  if (!source) {
    std::cerr << arguments[2] << " cannot be read\n";
    return 1;
  }
  std::vector<float> input(static_cast<size_t>(source.tellg()) / sizeof(float));
  source.seekg(0).read(reinterpret_cast<char*>(input.data()), input.size() * sizeof(float));
  try {
    Window window(arguments[1]);
    const auto output = play(window, input);
    std::ofstream target(arguments[3], std::ios::binary);
    target.write(reinterpret_cast<const char*>(output.data()), output.size() * sizeof(float));
    return target.good() ? 0 : 1;
  } catch (const Ort::Exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
