// Cuts an input into overlapping windows and fades from each result to the next.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "bundle.h"

inline int64_t rescaled(int64_t position, int64_t scaled) {
  return (2 * position * scaled + bundle::LENGTH) / (2 * bundle::LENGTH);
}

inline int64_t rows_of(const std::vector<int64_t>& shape) {
  int64_t rows = 1;
  for (size_t axis = 0; axis + 1 < shape.size(); ++axis) rows *= shape[axis];
  return rows;
}

// The weight of every sample of a window, 1 in the middle.
inline std::vector<float> triangle(int64_t length) {
  std::vector<float> weights;
  const int64_t half = length / 2;
  for (int64_t i = 0; i < length; ++i) {
    const double line = static_cast<double>(i < half ? i + 1 : length - i) / (length - half);
    weights.push_back(static_cast<float>(std::max(std::pow(line, bundle::POWER), 1e-30)));
  }
  return weights;
}

// `input` holds the rows of INPUT_SHAPE one after the other, of any length; so does the result with
// the rows of OUTPUT_SHAPE.
template <class Window>
std::vector<float> play(Window& window, const std::vector<float>& input) {
  const int64_t length = bundle::LENGTH, scaled = bundle::OUTPUT_SHAPE.back();
  const int64_t rows = rows_of(bundle::INPUT_SHAPE), results = rows_of(bundle::OUTPUT_SHAPE);
  const int64_t total = static_cast<int64_t>(input.size()) / rows, size = rescaled(total, scaled);
  const auto weight = triangle(scaled);
  std::vector<float> sums(results * size), weights(size), piece(rows * length);
  for (int64_t start = 0; start < total; start += bundle::STRIDE) {
    const int64_t stop = std::min(start + length, total), before = (length - (stop - start)) / 2;
    std::fill(piece.begin(), piece.end(), 0.0f);
    const int64_t from = std::max<int64_t>(0, start - before);
    const int64_t to = std::min(total, start - before + length);
    for (int64_t row = 0; row < rows; ++row)
      std::copy(input.begin() + row * total + from, input.begin() + row * total + to,
                piece.begin() + row * length + from - (start - before));
    const std::vector<float> output = window.run(piece);
    const int64_t first = rescaled(start, scaled), last = rescaled(stop, scaled);
    const int64_t skip = rescaled(before, scaled);
    for (int64_t i = 0; i < last - first; ++i) {
      for (int64_t row = 0; row < results; ++row)
        sums[row * size + first + i] += weight[i] * output[row * scaled + skip + i];
      weights[first + i] += weight[i];
    }
  }
  for (int64_t row = 0; row < results; ++row)
    for (int64_t i = 0; i < size; ++i) sums[row * size + i] /= weights[i];
  return sums;
}
