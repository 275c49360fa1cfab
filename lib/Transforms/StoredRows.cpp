#include "quern/Transforms/StoredRows.h"

#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
using namespace quern;
using namespace quern::transforms;

std::optional<quantize::ElementType> transforms::elementTypeOf(Type element) {
  // Not by name: a user's format may be called as a plain type is.
  if (auto block = dyn_cast<dq::BlockType>(element))
    return quantize::elementTypeOf(block.getFormat().getSpec());
  const quantize::ElementTypes types({});
  const char *name = element.isF32() ? "F32" : element.isF16() ? "F16" : element.isBF16() ? "BF16" : "";
  const quantize::ElementType *found = types.find(name);
  return found ? std::optional(*found) : std::nullopt;
}

/// The numbers of the resource, which verified sources have one of for each column.
static Result<const float *> importanceOf(dq::SourceOp source) {
  if (!source.getImportance())
    return static_cast<const float *>(nullptr);
  AsmResourceBlob *blob = source.getImportance()->getRawHandle().getBlob();
  if (!blob || int64_t(blob->getData().size()) != source.getStoredType().getDimSize(1) * int64_t(sizeof(float)))
    return fail("its importance has not one f32 for each column");
  return reinterpret_cast<const float *>(blob->getData().data());
}

Result<StoredRows> StoredRows::get(dq::SourceOp source, const dq::SourceReader &file) {
  StoredRows rows;
  auto type = cast<RankedTensorType>(source.getType());
  rows.source = source;
  rows.file = &file;
  int64_t count = type.getRank() == 2 ? type.getDimSize(0) : 1;
  rows.columns = type.getShape().back();
  rows.storedBytes = count ? source.getByteSize() / count : 0;
  rows.wantedBytes = count ? source.getTypeBytes() / count : 0;
  if (!source.getStored())
    return rows;
  auto from = elementTypeOf(source.getStoredType().getElementType()), to = elementTypeOf(type.getElementType());
  if (!from || !to)
    return fail("it cannot be quantized, as its elements are no floats and no blocks");
  QUERN_ASSIGN(quantize::RowConverter made, quantize::RowConverter::create(*from, *to));
  rows.converter = std::make_shared<const quantize::RowConverter>(std::move(made));
  QUERN_ASSIGN(rows.importance, importanceOf(source));
  return rows;
}

Result<std::span<const uint8_t>> StoredRows::read(int64_t first, int64_t count, Room &room) const {
  QUERN_ASSIGN(std::span<const uint8_t> stored,
               source.readBytes(*file, first * storedBytes, count * storedBytes, room.stored));
  if (!converter)
    return stored;
  room.wanted.resize(size_t(count * wantedBytes));
  for (int64_t row = 0; row < count; ++row) {
    const auto *from = reinterpret_cast<const std::byte *>(stored.data()) + row * storedBytes;
    if (Status status = converter->convert(from, uint64_t(columns), importance, room.wide,
                                           room.wanted.data() + row * wantedBytes);
        !status)
      return fail("row " + std::to_string(first + row) + " " + status.error().message);
  }
  return std::span(reinterpret_cast<const uint8_t *>(room.wanted.data()), room.wanted.size());
}
