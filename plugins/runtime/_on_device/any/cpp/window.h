// Runs one window: into the model's inputs, through the model, and back. Needs ONNX Runtime, C++17.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bundle.h"
#include "cpu.h"
#include "device.h"

class Window {
 public:
  // Opens the models of the bundle in `folder`; throws Ort::Exception where it cannot.
  explicit Window(const std::filesystem::path& folder) {
    env_.DisableTelemetryEvents();
    const std::string before = bundle::FORWARD, after = bundle::INVERSE;
    if (!before.empty()) sessions_.push_back(open_on_cpu(env_, folder / before));
    sessions_.push_back(open_model(env_, folder));
    if (!after.empty()) sessions_.push_back(open_on_cpu(env_, folder / after));
  }

  // Maps numbers in the order of INPUT_SHAPE to numbers in the order of OUTPUT_SHAPE.
  std::vector<float> run(std::vector<float>& window) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto& shape = bundle::INPUT_SHAPE;
    std::map<std::string, Ort::Value> values;
    values.emplace(bundle::INPUT,
                   Ort::Value::CreateTensor<float>(memory, window.data(), window.size(),
                                                   shape.data(), shape.size()));
    for (auto& session : sessions_) step(session, values);
    const Ort::Value& made = values.at(bundle::OUTPUT);
    const float* first = made.GetTensorData<float>();
    return {first, first + made.GetTensorTypeAndShapeInfo().GetElementCount()};
  }

 private:
  // Reads a model's inputs from `values`, by name, and adds its outputs.
  static void step(Ort::Session& session, std::map<std::string, Ort::Value>& values) {
    const auto inputs = session.GetInputNames(), outputs = session.GetOutputNames();
    std::vector<const char*> in, out;
    std::vector<Ort::Value> feeds;
    for (const auto& name : inputs) {
      in.push_back(name.c_str());
      feeds.push_back(std::move(values.at(name)));
    }
    for (const auto& name : outputs) out.push_back(name.c_str());
    auto made = session.Run(Ort::RunOptions{nullptr}, in.data(), feeds.data(), feeds.size(),
                            out.data(), out.size());
    for (size_t i = 0; i < feeds.size(); ++i) values.insert_or_assign(inputs[i], std::move(feeds[i]));
    for (size_t i = 0; i < made.size(); ++i) values.insert_or_assign(outputs[i], std::move(made[i]));
  }

  Ort::Env env_{ORT_LOGGING_LEVEL_WARNING, "bundle"};
  std::vector<Ort::Session> sessions_;
};
