// Runs one window: into the model's inputs, through the model, and back. Needs ONNX Runtime, C++17.
//
// When a bundle is opened, every back end plays the golden window before it may play anything else.
// One whose result is wrong is not used.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bundle.h"
#include "cpu.h"
#include "device.h"
#include "golden.h"
#include "manifest.h"

class Window {
 public:
  // Opens the models of the bundle in `folder`, on the first back end that passes the test; with
  // `every`, tries the remaining ones, too. `log` gets a line for each. Throws BundleError where
  // none can be used, or where a file of the bundle is missing or changed.
  explicit Window(const std::filesystem::path& folder, bool every = false,
                  std::ostream& log = std::cerr)
      : every_(every), log_(log) {
    check_manifest(folder);
    env_.DisableTelemetryEvents();
    golden_ = std::make_unique<Golden>(folder);
    before_ = host(folder, bundle::FORWARD);
    after_ = host(folder, bundle::INVERSE);
    if (!Golden::none()) check_dsp();
    std::string whys;
    for (const auto& backend : backends(env_, folder)) {
      if (model_ && !every_) break;
      try {
        auto session = std::make_unique<Ort::Session>(nullptr);
        const std::string said = tried(backend, *session);
        log_ << backend.name << ": " << said << '\n';
        if (!model_) model_ = std::move(session), used_ = backend.name;
      } catch (const std::exception& error) {
        log_ << backend.name << ": not used: " << error.what() << '\n';
        whys += "\n  " + backend.name + ": " + error.what();
      }
    }
    if (!model_) throw BundleError("no back end can be used:" + whys);
  }

  // The name of the back end that plays.
  const std::string& used() const { return used_; }

  // Maps numbers in the order of INPUT_SHAPE to numbers in the order of OUTPUT_SHAPE.
  std::vector<float> run(std::vector<float>& window) {
    Values values = forward(window);
    step(*model_, values);
    if (after_) step(*after_, values);
    const Ort::Value& made = values.at(bundle::OUTPUT);
    const float* first = made.GetTensorData<float>();
    return {first, first + made.GetTensorTypeAndShapeInfo().GetElementCount()};
  }

 private:
  using Values = std::map<std::string, Ort::Value>;
  using Clock = std::chrono::steady_clock;

  // A function from a name to the numbers of a tensor. The outputs of the signature have the
  // name that the last graph gives them.
  static auto reader(const Values& values, const std::string& stage = "") {
    return [&values, stage](const std::string& name) {
      const Ort::Value& value = values.at(stage == "outputs" ? bundle::OUTPUT : name);
      const auto info = value.GetTensorTypeAndShapeInfo();
      const size_t count = info.GetElementCount();
      switch (info.GetElementType()) {
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
          return copied(value.GetTensorData<float>(), count);
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
          return copied(value.GetTensorData<int64_t>(), count);
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
          return copied(value.GetTensorData<int32_t>(), count);
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16: {
          const auto* first = value.GetTensorData<Ort::Float16_t>();
          std::vector<double> numbers;
          for (size_t i = 0; i < count; ++i) numbers.push_back(first[i].ToFloat());
          return numbers;
        }
        default:
          throw BundleError(name + " has a type that this program cannot compare");
      }
    };
  }

  template <class Number>
  static std::vector<double> copied(const Number* first, size_t count) {
    return {first, first + count};
  }

  // A graph of the dsp on the CPU; none without a name.
  std::unique_ptr<Ort::Session> host(const std::filesystem::path& folder, const std::string& name) {
    if (name.empty()) return nullptr;
    try {
      return std::make_unique<Ort::Session>(open_on_cpu(env_, folder / name));
    } catch (const Ort::Exception& error) {
      throw BundleError(name + " cannot be opened: " + error.what());
    }
  }

  Values forward(std::vector<float>& window) {
    Values values;
    values.emplace(bundle::INPUT, tensor(window, bundle::INPUT_SHAPE));
    if (before_) step(*before_, values);
    return values;
  }

  static Ort::Value tensor(std::vector<float>& values, const std::vector<int64_t>& shape) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    return Ort::Value::CreateTensor<float>(memory, values.data(), values.size(), shape.data(),
                                           shape.size());
  }

  static size_t count_of(const std::vector<int64_t>& shape) {
    size_t count = 1;
    for (const int64_t size : shape) count *= static_cast<size_t>(size);
    return count;
  }

  // The window's input; it must outlive the values that are made from it.
  std::vector<float> golden_input() const { return golden_->cycled(count_of(bundle::INPUT_SHAPE)); }

  // Throws BundleError for a graph of the dsp that computes something else.
  void check_dsp() {
    if (!before_ || !after_) return;
    auto input = golden_input();
    Values values = forward(input);
    need(golden_->worst("dsp", "forward", reader(values)), bundle::FORWARD);
    std::vector<std::vector<float>> others;  // they must not move while tensors point at them
    const auto names = after_->GetInputNames();
    others.reserve(names.size());
    for (size_t i = 0; i < names.size(); ++i) {
      if (values.count(names[i])) continue;
      const auto shape = after_->GetInputTypeInfo(i).GetTensorTypeAndShapeInfo().GetShape();
      others.push_back(golden_->cycled(count_of(shape)));
      values.emplace(names[i], tensor(others.back(), shape));
    }
    step(*after_, values);
    need(golden_->worst("dsp", "inverse", reader(values)), bundle::INVERSE);
  }

  static void need(const Verdict& found, const std::string& file) {
    if (!found.holds())
      throw BundleError(file + " computes something else: " + found.label + " has " +
                        text(found.db) + " dB on the golden window, and " + text(found.least) +
                        " dB are needed; copy the bundle again");
  }

  // Opens a back end, and plays the golden window; throws BundleError for a wrong result.
  std::string tried(const Backend& backend, Ort::Session& session) {
    auto started = Clock::now();
    session = backend.open();
    std::string times = "cold start " + since(started), said;
    if (Golden::none()) return "opened, " + times + "; not tested: no golden window";
    auto input = golden_input();
    Values values = forward(input);
    for (const char* name : {"first", "second"}) {
      if (name[0] == 's' && !every_) break;
      values = forward(input);
      started = Clock::now();
      step(session, values);
      times += std::string(", ") + name + " window " + since(started);
    }
    said += verdict(backend, "model", values);
    if (after_) step(*after_, values);
    return "passes: " + said + verdict(backend, "outputs", values) + times;
  }

  std::string verdict(const Backend& backend, const std::string& stage, const Values& values) {
    const Verdict found = golden_->worst(backend.artifact, stage, reader(values, stage));
    if (!found.holds())
      throw BundleError("its result is wrong: " + found.label + " has " + text(found.db) +
                        " dB on the golden window, and " + text(found.least) + " dB are needed");
    return stage + " " + text(found.db) + " dB of " + text(found.least) + ", ";
  }

  static std::string text(double db) {
    const auto tenths = std::llround(10 * std::abs(db));
    return (db < 0 && tenths ? "-" : "") + std::to_string(tenths / 10) + "." +
           std::to_string(tenths % 10);
  }

  static std::string since(Clock::time_point started) {
    const std::chrono::duration<double, std::milli> passed = Clock::now() - started;
    return std::to_string(std::llround(passed.count())) + " ms";
  }

  // Reads a model's inputs from `values`, by name, and adds its outputs.
  static void step(Ort::Session& session, Values& values) {
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
  bool every_;
  std::ostream& log_;
  std::unique_ptr<Golden> golden_;
  std::unique_ptr<Ort::Session> before_, after_, model_;
  std::string used_;
};
