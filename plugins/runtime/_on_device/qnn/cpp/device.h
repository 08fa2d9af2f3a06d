// The back ends of a model for a Snapdragon: its NPU, its GPU, and the CPU.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "bundle.h"
#include "cpu.h"

inline std::vector<Ort::ConstEpDevice> qnn_devices(const Ort::Env& env, const std::string& name) {
  std::vector<Ort::ConstEpDevice> found;
  for (const auto& device : env.GetEpDevices())
    if (device.EpName() == name) found.push_back(device);
  return found;
}

// Opens a model on a back end of QNN, whole. Throws std::exception on another processor (which
// would emulate the NPU), and where there is no library of Qualcomm's execution provider.
inline Ort::Session on_snapdragon(Ort::Env& env, const std::filesystem::path& model,
                                  const std::string& backend) {
#if !defined(__aarch64__) && !defined(_M_ARM64)
  throw std::runtime_error("this processor is no Snapdragon");
#endif
  const std::string name = "QNNExecutionProvider";
#ifdef _WIN32
  const std::filesystem::path library = "onnxruntime_providers_qnn.dll";
#else
  const std::filesystem::path library = "libonnxruntime_providers_qnn.so";
#endif
  if (qnn_devices(env, name).empty())
    env.RegisterExecutionProviderLibrary(name.c_str(), library.native());
  const auto devices = qnn_devices(env, name);
  if (devices.empty()) throw std::runtime_error("the library of QNN finds no device");
  Ort::SessionOptions options;
  // A graph that the GPU cannot take whole must not be computed by the CPU in the GPU's name.
  options.AddConfigEntry("session.disable_cpu_ep_fallback", "1");
  const std::unordered_map<std::string, std::string> chosen{{"backend_type", backend}};
  options.AppendExecutionProvider_V2(env, devices, chosen);
  return Ort::Session(env, model.c_str(), options);
}

// In the order in which they are tried.
inline std::vector<Backend> backends(Ort::Env& env, const std::filesystem::path& folder) {
  const auto model = folder / bundle::MODEL, fallback = folder / bundle::FALLBACK;
  return {
      {"NPU", "model", [&env, model] { return on_snapdragon(env, model, "htp"); }},
      {"GPU", "fallback", [&env, fallback] { return on_snapdragon(env, fallback, "gpu"); }},
      {"CPU", "fallback", [&env, fallback] { return open_on_cpu(env, fallback); }},
  };
}
