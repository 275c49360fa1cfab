#include "Common.h"

#include "quern/Support/Json.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace quern;

void cli::bindCacheFlags(CLI::App &app, std::string &keyType, std::string &valueType) {
  CLI::IsMember types({"f16", "q8_0", "f32"});
  app.add_option("--cache-type,--cache-type-k", keyType,
                 "How keys and values are kept: f16; q8_0, in half the memory; or f32, unrounded in twice the memory")
      ->capture_default_str()
      ->check(types);
  app.add_option("--cache-type-v", valueType, "The same for values, which have the keys' type")->check(types);
}

Result<std::string> cli::cacheType(const std::string &keyType, const std::string &valueType) {
  if (!valueType.empty() && valueType != keyType)
    return fail("keys and values have one cache type, not " + keyType + " and " + valueType +
                "; give --cache-type alone");
  return keyType;
}

void cli::bindModelFlags(CLI::App &app, ModelFlags &flags, bool withThreads) {
  if (withThreads)
    app.add_option("-t,--threads", flags.threads, "Threads; 0: one for each processor")->check(CLI::NonNegativeNumber);
  bindCacheFlags(app, flags.keyType, flags.valueType);
  app.add_option("--device", flags.device,
                 "What runs the model: cpu; cuda, cuda:N, opencl or opencl:N (see `quern devices`); or auto, a device "
                 "that the package has code for, else the processor (auto)");
  app.add_flag("--check-kernels", flags.checkKernels,
               "Wait for each kernel of a device, so that a fault names its op; slow");
  app.add_option("--target", flags.target, "Code version of the package to run, e.g. x86-64-v2")->capture_default_str();
  app.add_option("--mask-features", flags.maskedFeatures,
                 "Processor features to pretend absent, e.g. avx512vnni,gfni; or all");
}

/// Says why the processor was chosen, where somebody may have expected a device.
static void noteDevice(const cli::ModelFlags &flags, const api::Model &model) {
  std::string note = model.info().device_note;
  bool expected = !flags.device.empty() || parseJson(model.manifest()).contains("devices");
  if (!note.empty() && expected)
    std::fprintf(stderr, "quern: runs on the processor: %s\n", note.c_str());
}

bool cli::isGguf(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  return file.read(magic, sizeof magic) && std::memcmp(magic, "GGUF", 4) == 0;
}

bool cli::isOnnx(const std::string &path) { return path.ends_with(".onnx"); }

Result<api::Model> cli::openModel(const ModelFlags &flags, int chunkTokens, int64_t contextLength) {
  if (isGguf(flags.path))
    return fail("'" + flags.path + "' is a GGUF model, not a package; compile it first: quern compile " + flags.path +
                " -o " + std::filesystem::path(flags.path).stem().string() + ".quern");
  if (isOnnx(flags.path))
    return fail("'" + flags.path + "' is an ONNX model, not a package; compile it first: quern compile " + flags.path +
                " -o " + std::filesystem::path(flags.path).stem().string() + ".quern");
  QUERN_ASSIGN(std::string cache, cacheType(flags.keyType, flags.valueType));
  quern_model_options options = api::modelOptions();
  options.cache_type = cache.c_str();
  options.threads = flags.threads;
  options.chunk_tokens = chunkTokens;
  options.device = flags.device.empty() ? "auto" : flags.device.c_str();
  options.check_kernels = flags.checkKernels;
  options.context_length = contextLength;
  options.target = flags.target.c_str();
  options.masked_features = flags.maskedFeatures.empty() ? nullptr : flags.maskedFeatures.c_str();
  QUERN_ASSIGN(api::Model model, lift(api::Model::open(flags.path, options)));
  noteDevice(flags, model);
  return model;
}

Result<std::string> cli::readFile(const std::string &path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return fail("'" + path + "' is a directory, a file is needed");
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return fail("cannot open '" + path + "': " + std::strerror(errno));
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad())
    return fail("cannot read '" + path + "': " + std::strerror(errno));
  return text;
}

std::vector<std::string> cli::nonEmptyLines(const std::string &text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    size_t length = end - begin;
    if (length > 0 && text[end - 1] == '\r')
      --length;
    if (length > 0)
      lines.push_back(text.substr(begin, length));
    begin = end + 1;
  }
  return lines;
}

std::string cli::formatBytes(double bytes) {
  const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(units); ++unit)
    bytes /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit ? "%.2f %s" : "%.0f %s", bytes, units[unit]);
  return text;
}

double cli::logSumExp(std::span<const float> logits) {
  float largest = -INFINITY;
  for (float logit : logits)
    largest = std::max(largest, logit);
  double sum = 0;
  for (float logit : logits)
    sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

Status cli::handOverToCompiler(char **argv) {
  std::error_code error;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  std::string compiler = (self.parent_path() / "quern-compiler").string();
  execv(compiler.c_str(), argv);
  return fail("cannot start the compiler '" + compiler + "' (" + std::strerror(errno) + "); install it beside quern");
}
