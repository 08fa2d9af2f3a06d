// Opens the context binary on the NPU of a Snapdragon, or the same graph on the CPU.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <filesystem>
#include <iostream>
#include <string>
#include <unordered_map>
#include <vector>

#include "bundle.h"
#include "cpu.h"

inline std::vector<Ort::ConstEpDevice> npus(const Ort::Env& env, const std::string& name) {
  std::vector<Ort::ConstEpDevice> found;
  for (const auto& device : env.GetEpDevices())
    if (device.EpName() == name) found.push_back(device);
  return found;
}

// Throws Ort::Exception where there is no NPU, or no library of Qualcomm's execution provider.
inline Ort::Session on_npu(Ort::Env& env, const std::filesystem::path& model) {
  const std::string name = "QNNExecutionProvider";
#ifdef _WIN32
  const std::filesystem::path library = "onnxruntime_providers_qnn.dll";
#else
  const std::filesystem::path library = "libonnxruntime_providers_qnn.so";
#endif
  if (npus(env, name).empty()) env.RegisterExecutionProviderLibrary(name.c_str(), library.native());
  Ort::SessionOptions options;
  const std::unordered_map<std::string, std::string> htp{{"backend_type", "htp"}};
  options.AppendExecutionProvider_V2(env, npus(env, name), htp);
  return Ort::Session(env, model.c_str(), options);
}

inline Ort::Session open_model(Ort::Env& env, const std::filesystem::path& folder) {
  try {
    return on_npu(env, folder / bundle::MODEL);
  } catch (const Ort::Exception& error) {
    std::cerr << "no NPU, so the CPU computes: " << error.what() << '\n';
    return open_on_cpu(env, folder / bundle::FALLBACK);
  }
}
