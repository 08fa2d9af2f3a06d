// The golden window: one window with its results, by which a back end is tested.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "bundle.h"
#include "manifest.h"

// The group of values with the lowest SNR, that SNR, and the least that it must be, in dB.
struct Verdict {
  std::string label;
  double db = 200, least = 0;
  bool holds() const { return db >= least; }
};

class Golden {
 public:
  // Reads golden.bin; throws BundleError where it is too short.
  explicit Golden(const std::filesystem::path& folder) {
    if (none()) return;
    std::ifstream file(folder / "golden.bin", std::ios::binary);
    blob_.assign(std::istreambuf_iterator<char>(file), {});
    input_ = numbers(bundle::GOLDEN_OFFSET, bundle::GOLDEN_COUNT);
  }

  // Whether the bundle has no golden window.
  static bool none() { return bundle::GOLDEN.empty(); }

  // `count` values of the window's input, which is repeated as often as it takes.
  std::vector<float> cycled(size_t count) const {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = input_[i % input_.size()];
    return values;
  }

  // The worst group of a stage. `tensor` maps a name to a vector of the tensor's values.
  template <class Tensor>
  Verdict worst(const std::string& artifact, const std::string& stage, Tensor tensor) const {
    Verdict found;
    for (const auto& one : bundle::TOLERANCES)
      if (artifact == one.artifact && stage == one.stage) found.least = one.db;
    for (const auto& group : bundle::GOLDEN) {
      if (stage != group.stage) continue;
      const double db = decibels(group, tensor(group.tensor));
      if (db < found.db) found.db = db, found.label = *group.label ? group.label : group.tensor;
    }
    return found;
  }

 private:
  double decibels(const bundle::Group& group, const std::vector<double>& tensor) const {
    const auto expected = numbers(group.offset, group.count);
    const int64_t last = group.start + group.step * (group.count - 1);
    if (last >= static_cast<int64_t>(tensor.size())) return -200;
    double noise = 0;
    for (int64_t i = 0; i < group.count; ++i) {
      const double error = tensor[group.start + group.step * i] - expected[i];
      noise += error * error;
    }
    if (noise == 0) return 200;
    if (!std::isfinite(noise) || group.power <= 0) return -200;
    return std::clamp(10 * std::log10(group.power / noise), -200.0, 200.0);
  }

  std::vector<float> numbers(int64_t offset, int64_t count) const {
    const size_t size = static_cast<size_t>(count) * sizeof(float);
    if (static_cast<size_t>(offset) + size > blob_.size())
      throw BundleError("golden.bin is too short; copy the whole folder again");
    std::vector<float> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) {
      uint32_t bits = 0;
      for (int byte = 3; byte >= 0; --byte)
        bits = bits << 8 | static_cast<unsigned char>(blob_[offset + 4 * i + byte]);
      std::memcpy(&values[i], &bits, sizeof bits);
    }
    return values;
  }

  std::vector<char> blob_;
  std::vector<float> input_;
};
