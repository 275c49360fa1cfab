// Reading: from bytes to a checked model message.
#include "LeanMessage.h"
#include "quern/Import/Onnx/OnnxFile.h"
#include "quern/Support/Quoted.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <climits>

using namespace quern;
using namespace quern::import;

/// The oldest and newest form of the file that we know. Versions 1 and 2 had other rules for initializers.
static constexpr int64_t kOldestIr = 3, kNewestIr = 14;
static constexpr int64_t kNewestOpset = 28;

const OnnxType *import::onnxType(int32_t id) {
  static constexpr OnnxType kTypes[] = {
      {1, "f32", 32},   {2, "u8", 8},        {3, "i8", 8},          {4, "u16", 16},    {5, "i16", 16},
      {6, "i32", 32},   {7, "i64", 64},      {8, "string", 0},      {9, "bool", 8},    {10, "f16", 16},
      {11, "f64", 64},  {12, "u32", 32},     {13, "u64", 64},       {14, "c64", 64},   {15, "c128", 128},
      {16, "bf16", 16}, {17, "f8e4m3fn", 8}, {18, "f8e4m3fnuz", 8}, {19, "f8e5m2", 8}, {20, "f8e5m2fnuz", 8},
      {21, "u4", 4},    {22, "i4", 4},       {23, "f4e2m1", 4},     {24, "f8e8m0", 8}, {25, "u2", 2},
      {26, "i2", 2}};
  auto found = std::ranges::find(kTypes, id, &OnnxType::id);
  return found == std::end(kTypes) ? nullptr : found;
}

Result<int64_t> import::countElements(std::span<const int64_t> shape) {
  int64_t count = 1;
  bool overflow = false;
  for (int64_t size : shape) {
    if (size < 0)
      return fail("a dimension is " + std::to_string(size));
    overflow |= __builtin_mul_overflow(count, size, &count);
  }
  // A dimension of 0 empties the tensor, whatever the others are.
  if (std::ranges::find(shape, 0) != shape.end())
    return 0;
  if (overflow)
    return fail("its dimensions multiply to more elements than any machine holds");
  return count;
}

std::string import::nodeName(const onnx::NodeProto &node) {
  return node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name();
}

std::string import::describeNode(const onnx::NodeProto &node) {
  return inQuotes(nodeName(node)) + " (" + printable(node.op_type()) + ")";
}

std::string import::domainName(const std::string &domain) { return domain == "ai.onnx" ? "" : domain; }

int64_t OnnxFile::opset(const std::string &domain) const {
  for (const onnx::OperatorSetIdProto &set : message->opset_import())
    if (domainName(set.domain()) == domainName(domain))
      return set.version();
  return 0;
}

Result<OnnxFile> OnnxFile::open(const std::string &path) {
  QUERN_ASSIGN(MappedFile mapping, MappedFile::open(path));
  OnnxFile file;
  file.where = path;
  file.own = std::move(mapping);
  QUERN_TRY(file.parseWithoutData(file.own->bytes()));
  QUERN_TRY(file.check());
  return file;
}

Result<OnnxFile> OnnxFile::fromBytes(std::span<const std::byte> bytes, const std::string &path) {
  OnnxFile file;
  file.where = path;
  QUERN_TRY(file.parse(bytes));
  QUERN_TRY(file.check());
  return file;
}

Status OnnxFile::parse(std::span<const std::byte> bytes) {
  if (bytes.size() > size_t(INT_MAX))
    return fail("'" + where + "': the file has " + std::to_string(bytes.size()) +
                " bytes, but an ONNX message holds at most 2 GiB; save it with external data");
  message = std::make_unique<onnx::ModelProto>();
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t *>(bytes.data()), int(bytes.size()));
  if (!message->ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage())
    return fail("'" + where + "': is no ONNX model, or is cut off: the protobuf message ends early or has no sense");
  return {};
}

/// Parses the message without the data of its large initializers, which stay where they are mapped.
Status OnnxFile::parseWithoutData(std::span<const std::byte> bytes) {
  std::optional<LeanMessage> lean = bytes.size() > size_t(INT_MAX) ? std::nullopt : leaveOutData(bytes);
  if (!lean)
    return parse(bytes);
  QUERN_TRY(parse(std::as_bytes(std::span(lean->message))));
  for (const auto &[initializer, data] : lean->data)
    unparsed[&message->graph().initializer(initializer)] = data;
  return {};
}

Status OnnxFile::check() {
  if (!message->has_graph())
    return fail("'" + where + "': holds no graph; it is no ONNX model, or an empty one");
  int64_t ir = message->ir_version();
  if (ir < kOldestIr || ir > kNewestIr)
    return fail("'" + where + "': has IR version " + std::to_string(ir) + "; versions " + std::to_string(kOldestIr) +
                " to " + std::to_string(kNewestIr) + " can be read");
  int64_t version = opset("");
  if (version < 1 || version > kNewestOpset)
    return fail("'" + where + "': uses version " + std::to_string(version) +
                " of the standard operators; versions 1 to " + std::to_string(kNewestOpset) + " are known");
  QUERN_TRY(checkGraph(*this));
  for (const onnx::TensorProto &tensor : graph().initializer())
    QUERN_TRY(data(tensor));
  return {};
}
