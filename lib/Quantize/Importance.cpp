#include "quern/Quantize/Importance.h"

#include "quern/Import/GGUF.h"

#include <cmath>
#include <cstring>

using namespace quern;
using namespace quern::quantize;

using Columns = std::map<std::string, std::vector<float>, std::less<>>;

static std::vector<float> floats(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

/// Sums of squares over `counts` tokens, as tensors.
static Result<Columns> readGguf(const std::string &path) {
  QUERN_ASSIGN(gguf::File file, gguf::File::open(path, gguf::TypeTable()));
  constexpr std::string_view suffix = ".in_sum2";
  Columns all;
  for (const gguf::Tensor &sums : file.tensors()) {
    if (!sums.name.ends_with(suffix))
      continue;
    std::string name(sums.name.substr(0, sums.name.size() - suffix.size()));
    const gguf::Tensor *counts = file.tensor(name + ".counts");
    if (!counts || sums.type->name != "F32" || counts->type->name != "F32" || counts->elements != 1 ||
        sums.elements != sums.dims[0])
      return fail(path + ": '" + name + "' needs one row of sums and one count, both in F32");
    std::vector<float> means = floats(sums.data);
    float count = floats(counts->data)[0];
    for (float &mean : means)
      mean = count > 0 ? mean / count : 1.0f; // never multiplied: all columns alike
    all.emplace(std::move(name), std::move(means));
  }
  return all;
}

namespace {
/// The older kind: a count of entries; of each the name, the number of calls that the sums are over, and the sums.
class ListReader {
public:
  ListReader(const std::string &path, std::span<const std::byte> bytes) : path(path), left(bytes) {}

  Result<Columns> read() {
    QUERN_ASSIGN(size_t entries, number());
    Columns all;
    for (size_t i = 0; i < entries; ++i) {
      QUERN_ASSIGN(size_t length, number());
      QUERN_ASSIGN(auto text, take(length));
      std::string name(reinterpret_cast<const char *>(text.data()), text.size());
      QUERN_ASSIGN(size_t calls, number());
      QUERN_ASSIGN(size_t count, number());
      QUERN_ASSIGN(auto values, take(count * sizeof(float)));
      std::vector<float> means = floats(values);
      for (float &mean : means)
        mean /= calls > 0 ? float(calls) : 1.0f;
      all.emplace(std::move(name), std::move(means));
    }
    return all;
  }

private:
  Result<std::span<const std::byte>> take(size_t size) {
    if (size > left.size())
      return fail(path + ": this is no importance file, or it is cut off");
    auto taken = left.first(size);
    left = left.subspan(size);
    return taken;
  }
  Result<size_t> number() {
    QUERN_ASSIGN(auto bytes, take(sizeof(int32_t)));
    int32_t value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value < 0 ? SIZE_MAX / sizeof(float) : size_t(value); // no file has so many bytes
  }

  const std::string &path;
  std::span<const std::byte> left;
};
} // namespace

Result<Importance> Importance::read(const std::string &path) {
  QUERN_ASSIGN(MappedFile file, MappedFile::open(path));
  bool isGguf = file.bytes().size() >= 4 && std::memcmp(file.bytes().data(), "GGUF", 4) == 0;
  Importance importance;
  importance.path = path;
  QUERN_ASSIGN(importance.columns, isGguf ? readGguf(path) : ListReader(path, file.bytes()).read());
  if (importance.columns.empty())
    return fail(path + ": the file tells the importance of no weight");
  for (const auto &[name, values] : importance.columns)
    for (float value : values)
      if (!std::isfinite(value) || value < 0)
        return fail(path + ": '" + name + "' has an importance that is negative or no finite number");
  return importance;
}

Result<const float *> Importance::find(std::string_view weight, uint64_t count) const {
  auto found = columns.find(weight);
  if (found == columns.end())
    return static_cast<const float *>(nullptr);
  if (found->second.size() != count)
    return fail(path + ": '" + std::string(weight) + "' has " + std::to_string(found->second.size()) +
                " columns here and " + std::to_string(count) + " in the model; the file is of another model");
  return found->second.data();
}
