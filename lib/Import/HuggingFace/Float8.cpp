#include "Float8.h"

#include "quern/Support/Half.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

using namespace quern;
using namespace quern::import;

static constexpr uint32_t kBF16 = 30; // GGUF's tensor type
static constexpr int64_t kMaxBlock = 1 << 20;

Result<Packing> import::readFloat8(const JsonObject &json) {
  Packing packing;
  packing.method = Packing::Method::Float8;
  QUERN_ASSIGN(std::optional<std::string> format, json.find<std::string>("format"));
  QUERN_ASSIGN(std::optional<std::string> method, json.find<std::string>("quant_method"));
  if (method == "compressed-tensors" && !format)
    return json.error("'format' is missing; 'float-quantized' is supported");
  for (const char *key : {"transform_config", "sparsity_config"})
    if (const nlohmann::json *value = json.value(key); value && !value->empty())
      return json.error("'" + std::string(key) + "' is not supported");
  if (format && *format != "float-quantized")
    return json.error("the format '" + *format + "' is not supported; 'float-quantized' is");
  QUERN_ASSIGN(std::optional<std::string> kind, json.find<std::string>("fmt"));
  if (kind.value_or("e4m3") != "e4m3")
    return json.error("floats of 8 bits of the kind '" + *kind + "' are not supported; 'e4m3' are");
  const nlohmann::json *size = json.value("weight_block_size");
  if (!size || size->is_null())
    return packing;
  auto isSize = [](const nlohmann::json &one) { return one.is_number_unsigned() && one > 0u && one <= kMaxBlock; };
  if (!size->is_array() || size->size() != 2 || !isSize(size->at(0)) || !isSize(size->at(1)))
    return json.error("'weight_block_size' must be two sizes, of rows and columns");
  packing.blockRows = size->at(0).get<int64_t>();
  packing.blockColumns = size->at(1).get<int64_t>();
  return packing;
}

/// 1 bit of sign, 4 of exponent, 3 of fraction; no infinities, all bits but the sign set is no number.
static std::array<float, 256> float8Values() {
  std::array<float, 256> values;
  for (int code = 0; code < 256; ++code) {
    int exponent = code >> 3 & 15, fraction = code & 7;
    float size = exponent ? std::ldexp(float(8 + fraction), exponent - 10) : std::ldexp(float(fraction), -9);
    if ((code & 127) == 127)
      size = std::numeric_limits<float>::quiet_NaN();
    values[static_cast<size_t>(code)] = code & 128 ? -size : size;
  }
  return values;
}

namespace {
/// Scales of blocks of rows by columns, `width` of them side by side.
struct Scales {
  std::vector<float> values;
  int64_t rows, columns, width;
};
} // namespace

static Result<Scales> findScales(const safetensors::Checkpoint &checkpoint, const std::string &layer,
                                 const Packing &packing, int64_t rows, int64_t columns,
                                 std::vector<std::string> &names) {
  const bool blocks = packing.blockRows > 0;
  const std::string name = layer + (blocks ? ".weight_scale_inv" : ".weight_scale");
  const safetensors::Tensor *tensor = checkpoint.find(name);
  if (!tensor)
    return fail("tensor '" + name + "' is missing");
  names.push_back(name);
  if (tensor->dtype != "F32" && tensor->dtype != "BF16" && tensor->dtype != "F16")
    return fail("tensor '" + name + "' has elements of type " + std::string(tensor->dtype) +
                "; scales must be F32, BF16 or F16");
  Scales scales{{}, packing.blockRows, packing.blockColumns, 1};
  std::vector<uint64_t> wanted;
  if (blocks) {
    scales.width = (columns + scales.columns - 1) / scales.columns;
    wanted = {static_cast<uint64_t>((rows + scales.rows - 1) / scales.rows), static_cast<uint64_t>(scales.width)};
  } else {
    bool one = tensor->elements == 1;
    scales.rows = one ? rows : 1;
    scales.columns = columns;
    wanted = one ? tensor->shape : std::vector<uint64_t>{static_cast<uint64_t>(rows), 1};
  }
  if (tensor->shape != wanted)
    return fail("tensor '" + name + "' does not have the shape that scales of this layer have");
  scales.values = safetensors::toFloats(*tensor);
  return scales;
}

/// One row, whose scales begin at `scale`.
static void widenRow(std::span<const std::byte> codes, const float *scale, int64_t columnsOfScale, std::byte *out) {
  static const std::array<float, 256> values = float8Values();
  for (size_t first = 0; first < codes.size(); first += static_cast<size_t>(columnsOfScale), ++scale) {
    size_t end = std::min(codes.size(), first + static_cast<size_t>(columnsOfScale));
    for (size_t k = first; k < end; ++k) {
      uint16_t bits = floatToBfloat(values[static_cast<size_t>(codes[k])] * *scale);
      std::memcpy(out + 2 * k, &bits, sizeof bits);
    }
  }
}

Result<MadeWeight> import::widenFloat8(const safetensors::Checkpoint &checkpoint, const std::string &layer,
                                       const Packing &packing, int64_t rows, int64_t columns,
                                       std::vector<std::string> &names) {
  const std::string name = layer + ".weight";
  const safetensors::Tensor &tensor = *checkpoint.find(name);
  std::vector<uint64_t> wanted = {static_cast<uint64_t>(rows), static_cast<uint64_t>(columns)};
  if (tensor.shape != wanted)
    return fail("tensor '" + name + "' does not have the shape " + std::to_string(rows) + " x " +
                std::to_string(columns) + " that config.json says");
  names.push_back(name);
  QUERN_ASSIGN(Scales scales, findScales(checkpoint, layer, packing, rows, columns, names));
  if (checkpoint.find(layer + ".input_scale")) // of activations, which are quantized here in another way
    names.push_back(layer + ".input_scale");
  auto make = [data = tensor.data, width = wanted[1], scales = std::move(scales)](uint64_t first, uint64_t count,
                                                                                  std::byte *out) {
    for (uint64_t n = first; n < first + count; ++n, out += 2 * width) {
      const float *scale = scales.values.data() + static_cast<int64_t>(n) / scales.rows * scales.width;
      widenRow(data.subspan(n * width, width), scale, scales.columns, out);
    }
  };
  return MadeWeight{kBF16, std::move(make)};
}
