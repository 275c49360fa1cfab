#include "quern/Import/WriteGGUF.h"
#include "quern/Import/GGUFWriter.h"

using namespace quern;
using namespace quern::import;

/// Whether a tensor's rows are those of heads that the rotary embedding turns.
static bool isRotated(std::string_view name) {
  size_t dot = name.rfind('.', name.rfind('.') - 1); // before "attn_q.weight"
  std::string_view part = dot == std::string_view::npos ? name : name.substr(dot + 1);
  return part == "attn_q.weight" || part == "attn_q.bias" || part == "attn_k.weight" || part == "attn_k.bias";
}

/// Rows of each head from halves to pairs: row 2i comes from row i, row 2i + 1 from row D/2 + i.
static Status writeInPairs(gguf::Writer &writer, const gguf::Tensor &tensor, uint64_t headDim) {
  uint64_t rows = tensor.dims.back(), rowBytes = tensor.data.size() / rows;
  for (uint64_t row = 0; row < rows; ++row) {
    uint64_t inHead = row % headDim;
    uint64_t from = row - inHead + inHead % 2 * (headDim / 2) + inHead / 2;
    QUERN_TRY(writer.write(tensor.data.subspan(from * rowBytes, rowBytes)));
  }
  return {};
}

Status import::writeGGUF(const gguf::File &file, const ModelConfig &config, const std::string &path,
                         const std::function<void(double)> &progress) {
  std::vector<gguf::TensorInfo> infos;
  uint64_t total = 0, done = 0;
  for (const gguf::Tensor &tensor : file.tensors()) {
    infos.push_back({std::string(tensor.name), tensor.typeId, tensor.dims, tensor.data.size()});
    total += tensor.data.size();
  }
  QUERN_ASSIGN(gguf::Writer writer, gguf::Writer::create(path, file.metadata(), infos));
  for (const gguf::Tensor &tensor : file.tensors()) {
    if (file.hasHeadsInHalves() && isRotated(tensor.name))
      QUERN_TRY(writeInPairs(writer, tensor, static_cast<uint64_t>(config.headDim)));
    else
      QUERN_TRY(writer.write(tensor.data));
    done += tensor.data.size();
    if (progress)
      progress(double(done) / double(total));
  }
  return writer.finish();
}
