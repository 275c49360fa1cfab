// The data of initializers, which may be gigabytes, need not go through the protobuf classes, which copy it.
#ifndef QUERN_LIB_IMPORT_ONNX_LEANMESSAGE_H
#define QUERN_LIB_IMPORT_ONNX_LEANMESSAGE_H

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace quern::import {

/// A ModelProto's bytes in which large initializers have an empty `raw_data`.
struct LeanMessage {
  std::string message;
  /// The number of each such initializer, and its data in the original.
  std::vector<std::pair<int, std::span<const std::byte>>> data;
};

/// None where the bytes are not built as writers build them (more than one graph, fields that are cut off): then the
/// classes have to judge the whole.
std::optional<LeanMessage> leaveOutData(std::span<const std::byte> model);

} // namespace quern::import

#endif // QUERN_LIB_IMPORT_ONNX_LEANMESSAGE_H
