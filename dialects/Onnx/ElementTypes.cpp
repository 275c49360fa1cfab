// ONNX's element types and upstream's, and the bytes of constants.
#include "dialects/Onnx/Onnx.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace quern;

/// The types by their numbers, those that newer versions of ONNX added included.
static SmallVector<std::pair<int32_t, Type>> elementTypes(MLIRContext *context) {
  Builder b(context);
  auto isUnsigned = IntegerType::Unsigned;
  auto integer = [&](unsigned width) { return b.getIntegerType(width); };
  auto natural = [&](unsigned width) { return IntegerType::get(context, width, isUnsigned); };
  return {{1, b.getF32Type()},
          {2, natural(8)},
          {3, integer(8)},
          {4, natural(16)},
          {5, integer(16)},
          {6, integer(32)},
          {7, integer(64)},
          {8, onnxir::StringType::get(context)},
          {9, b.getI1Type()},
          {10, b.getF16Type()},
          {11, b.getF64Type()},
          {12, natural(32)},
          {13, natural(64)},
          {14, ComplexType::get(b.getF32Type())},
          {15, ComplexType::get(b.getF64Type())},
          {16, b.getBF16Type()},
          {17, Float8E4M3FNType::get(context)},
          {18, Float8E4M3FNUZType::get(context)},
          {19, Float8E5M2Type::get(context)},
          {20, Float8E5M2FNUZType::get(context)},
          {21, natural(4)},
          {22, integer(4)},
          {23, Float4E2M1FNType::get(context)},
          {24, Float8E8M0FNUType::get(context)},
          {25, natural(2)},
          {26, integer(2)}};
}

Type onnxir::elementType(MLIRContext *context, int32_t number) {
  for (auto [id, type] : elementTypes(context))
    if (id == number)
      return type;
  return {};
}

int32_t onnxir::elementNumber(Type type) {
  for (auto [id, known] : elementTypes(type.getContext()))
    if (known == type)
      return id;
  return 0;
}

unsigned onnxir::elementBits(Type type) {
  if (auto parts = dyn_cast<ComplexType>(type))
    return 2 * elementBits(parts.getElementType());
  if (!type.isIntOrFloat())
    return 0;
  return type.isInteger(1) ? 8 : type.getIntOrFloatBitWidth();
}

std::optional<int64_t> onnxir::byteSize(ShapedType type) {
  int64_t bits = elementBits(type.getElementType());
  if (llvm::is_contained(type.getShape(), 0))
    return 0;
  for (int64_t size : type.getShape())
    if (__builtin_mul_overflow(bits, size, &bits))
      return std::nullopt;
  return bits / 8 + (bits % 8 != 0);
}

/// The low bytes of a number; those of fewer bits than a byte are put behind each other.
static void append(SmallVectorImpl<char> &out, const APInt &number, unsigned bits, int64_t index) {
  uint64_t value = number.getZExtValue();
  if (bits >= 8) {
    for (unsigned i = 0; i < bits / 8; ++i)
      out.push_back(char(value >> 8 * i));
    return;
  }
  unsigned place = unsigned(index * bits % 8);
  if (place == 0)
    out.push_back(0);
  out.back() = char(uint8_t(out.back()) | value << place);
}

std::optional<ArrayRef<char>> onnxir::rawBytes(ElementsAttr value, SmallVectorImpl<char> &room) {
  auto type = cast<ShapedType>(value.getType());
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob)
      return std::nullopt;
    return blob->getData();
  }
  auto dense = dyn_cast<DenseElementsAttr>(value);
  unsigned bits = elementBits(type.getElementType());
  if (!dense || bits == 0 || isa<ComplexType>(type.getElementType()))
    return std::nullopt;
  room.clear();
  int64_t index = 0;
  if (isa<FloatType>(type.getElementType()))
    for (const APFloat &element : dense.getValues<APFloat>())
      append(room, element.bitcastToAPInt(), bits, index++);
  else
    for (const APInt &element : dense.getValues<APInt>())
      append(room, element, bits, index++);
  return ArrayRef<char>(room);
}

DenseElementsAttr onnxir::denseElements(ShapedType type, ArrayRef<char> bytes) {
  if (!type.getElementType().isInteger(1))
    return DenseElementsAttr::getFromRawBuffer(type, bytes);
  SmallVector<bool> bits;
  for (char byte : bytes)
    bits.push_back(byte != 0);
  return DenseElementsAttr::get(type, bits);
}
