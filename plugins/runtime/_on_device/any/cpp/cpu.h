// Opens graphs on the CPU.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <filesystem>
#include <functional>
#include <string>

// A device that may play an artifact of the bundle (`model` or `fallback`), and how it is opened.
struct Backend {
  std::string name, artifact;
  std::function<Ort::Session()> open;
};

// 8-bit products are added exactly where the CPU lacks VNNI, and no input is rounded to 8 bits that
// the graph does not round.
inline Ort::Session open_on_cpu(Ort::Env& env, const std::filesystem::path& file) {
  Ort::SessionOptions options;
  options.AddConfigEntry("session.x64quantprecision", "1");
  options.AddConfigEntry("session.qdq_matmulnbits_accuracy_level", "1");
  return Ort::Session(env, file.c_str(), options);
}
