#include "quern/Import/WriteGGUF.h"
#include "quern/Import/GGUFWriter.h"

using namespace quern;
using namespace quern::import;

bool import::hasRotatedHeads(std::string_view name) {
  size_t dot = name.rfind('.', name.rfind('.') - 1); // before "attn_q.weight"
  std::string_view part = dot == std::string_view::npos ? name : name.substr(dot + 1);
  return part == "attn_q.weight" || part == "attn_q.bias" || part == "attn_k.weight" || part == "attn_k.bias";
}

uint64_t import::rowInHalves(uint64_t row, uint64_t headDim) {
  uint64_t inHead = row % headDim;
  return row - inHead + inHead % 2 * (headDim / 2) + inHead / 2;
}

/// A vector's elements count as rows.
static Status writeInPairs(gguf::Writer &writer, const gguf::File &file, const gguf::Tensor &tensor, uint64_t headDim) {
  uint64_t rows = tensor.dims.back(), rowBytes = tensor.bytes() / rows;
  std::vector<std::byte> room;
  for (uint64_t head = 0; head < rows; head += headDim) {
    QUERN_ASSIGN(std::span<const std::byte> from,
                 file.read(tensor.part, tensor.offset + head * rowBytes, headDim * rowBytes, room));
    for (uint64_t row = 0; row < headDim; ++row)
      QUERN_TRY(writer.write(from.subspan(rowInHalves(row, headDim) * rowBytes, rowBytes)));
  }
  return {};
}

static Status writeRows(gguf::Writer &writer, const gguf::File &file, const gguf::Tensor &tensor) {
  static constexpr uint64_t pieceBytes = uint64_t(1) << 20;
  uint64_t step = std::max<uint64_t>(1, pieceBytes / tensor.rowBytes());
  std::vector<std::byte> room;
  for (uint64_t first = 0; first < tensor.rows(); first += step)
    QUERN_TRY(writer.write(file.rows(tensor, first, std::min(step, tensor.rows() - first), room)));
  return {};
}

Status import::refuseReordered(const gguf::File &file) {
  for (const gguf::Tensor &tensor : file.tensors())
    if (tensor.name.ends_with(".columns"))
      return fail(file.path() + ": tensor " + file.described(tensor.name) +
                  " puts columns in an order of their own (act-order), which GGUF files cannot tell; compile the "
                  "folder straight to a package");
  return {};
}

Status import::writeGGUF(const gguf::File &file, const ModelConfig &config, const std::string &path,
                         const std::function<void(double)> &progress) {
  QUERN_TRY(refuseReordered(file));
  std::vector<gguf::TensorInfo> infos;
  uint64_t total = 0, done = 0;
  for (const gguf::Tensor &tensor : file.tensors()) {
    infos.push_back({std::string(tensor.name), tensor.typeId, tensor.dims, tensor.bytes()});
    total += tensor.bytes();
  }
  QUERN_ASSIGN(gguf::Writer writer, gguf::Writer::create(path, file.metadata(), infos));
  for (const gguf::Tensor &tensor : file.tensors()) {
    if (file.hasHeadsInHalves() && hasRotatedHeads(tensor.name))
      QUERN_TRY(writeInPairs(writer, file, tensor, static_cast<uint64_t>(config.headDim)));
    else
      QUERN_TRY(writeRows(writer, file, tensor));
    done += tensor.bytes();
    if (progress)
      progress(double(done) / double(total));
  }
  return writer.finish();
}
