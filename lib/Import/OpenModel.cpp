#include "quern/Import/OpenModel.h"
#include "quern/Import/HuggingFace.h"
#include "quern/Import/Onnx/OnnxModel.h"

#include <filesystem>

using namespace quern;
namespace fs = std::filesystem;

std::string import::onnxFileOf(const std::string &path) {
  std::error_code ignored;
  if (path.ends_with(".onnx"))
    return path;
  bool isCheckpoint = fs::exists(fs::path(path) / "model.safetensors", ignored) ||
                      fs::exists(fs::path(path) / "model.safetensors.index.json", ignored);
  std::string inside = (fs::path(path) / "model.onnx").string();
  return !isCheckpoint && fs::exists(inside, ignored) ? inside : "";
}

Result<gguf::File> import::openModel(const std::string &path, const gguf::TypeTable &types) {
  if (std::string name = onnxFileOf(path); !name.empty()) {
    QUERN_ASSIGN(OnnxFile file, OnnxFile::open(name));
    return openOnnxModel(std::move(file), types);
  }
  std::error_code ignored;
  return fs::is_directory(path, ignored) ? openHuggingFace(path, types) : gguf::File::open(path, types);
}
