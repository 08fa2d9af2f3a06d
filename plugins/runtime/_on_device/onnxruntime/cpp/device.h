// The back end of a graph that ONNX Runtime plays: the CPU.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <filesystem>
#include <vector>

#include "bundle.h"
#include "cpu.h"

// In the order in which they are tried.
inline std::vector<Backend> backends(Ort::Env& env, const std::filesystem::path& folder) {
  const auto file = folder / bundle::MODEL;
  return {{"CPU", "model", [&env, file] { return open_on_cpu(env, file); }}};
}
