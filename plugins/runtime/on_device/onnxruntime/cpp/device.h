// Opens the model on the CPU.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <filesystem>

#include "bundle.h"

inline Ort::Session open_model(Ort::Env& env, const std::filesystem::path& folder) {
  return Ort::Session(env, (folder / bundle::MODEL).c_str(), Ort::SessionOptions());
}
