// Opens the model on the CPU.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <filesystem>

#include "bundle.h"
#include "cpu.h"

inline Ort::Session open_model(Ort::Env& env, const std::filesystem::path& folder) {
  return open_on_cpu(env, folder / bundle::MODEL);
}
