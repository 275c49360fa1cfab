// An ONNX model file, read and checked: the protobuf message as it is, and the bytes of its tensors, wherever the file
// keeps them. Free of MLIR. What operators mean is the importer's matter; here is what holds for any graph.
#ifndef QUERN_IMPORT_ONNX_ONNXFILE_H
#define QUERN_IMPORT_ONNX_ONNXFILE_H

#include "quern/Support/MappedFile.h"
#include "quern/Support/Result.h"

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace quern::import {

/// An element type of tensors, by its number in the file. The number may be newer than the installed protobuf classes.
struct OnnxType {
  int32_t id;
  const char *name; ///< "f32", "u4"; as messages and packages say it
  int bits;         ///< of one element; 0: of no fixed size (strings)
};

/// Null if the number means nothing to us.
const OnnxType *onnxType(int32_t id);

/// The number of elements of a shape; fails on negative dimensions and on products beyond int64.
Result<int64_t> countElements(std::span<const int64_t> shape);

/// A domain of operators by its one name: "" for the standard operators, which files may also call "ai.onnx".
std::string domainName(const std::string &domain);

class OnnxFile {
public:
  /// Reads and checks the file at `path`: a whole protobuf message, versions, names used once and made before they are
  /// used, dimensions, and that every tensor's bytes are there. External data must lie in the file's own folder.
  static Result<OnnxFile> open(const std::string &path);
  /// The same from memory; `path` is for messages, and external data is looked for in its folder.
  static Result<OnnxFile> fromBytes(std::span<const std::byte> bytes, const std::string &path);

  const std::string &path() const { return where; }
  const onnx::ModelProto &model() const { return *message; }
  const onnx::GraphProto &graph() const { return message->graph(); }
  /// Version of an operator set; 0 if the model does not import it. "" is the standard one.
  int64_t opset(const std::string &domain) const;

  /// The elements of a tensor of this file, row-major, little-endian, packed as in `raw_data`. Lives as long as the
  /// file.
  Result<std::span<const std::byte>> data(const onnx::TensorProto &tensor);

  /// Holds a tensor that was made while importing, so that its data can be asked for like that of the file's own.
  const onnx::TensorProto &keep(onnx::TensorProto tensor) { return kept.emplace_back(std::move(tensor)); }

  /// "'model.onnx': tensor 'name': what".
  tl::unexpected<Error> wrong(const std::string &what, const std::string &thing) const {
    return fail("'" + where + "': " + what + ": " + thing);
  }

private:
  Status parse(std::span<const std::byte> bytes);
  Status parseWithoutData(std::span<const std::byte> bytes);
  Status check();
  Result<std::span<const std::byte>> external(const onnx::TensorProto &tensor, int64_t bytes);
  Result<std::span<const std::byte>> mapped(const std::string &location, const std::string &tensor);

  std::string where;
  std::unique_ptr<onnx::ModelProto> message;
  std::optional<MappedFile> own;                          ///< the file itself
  std::map<std::string, MappedFile> files;                ///< of external data, by location
  std::map<const onnx::TensorProto *, std::span<const std::byte>> unparsed; ///< data of initializers, in `own`
  std::list<onnx::TensorProto> kept;
  std::map<const onnx::TensorProto *, std::string> owned; ///< tensors stored in typed fields, as raw bytes
};

/// The graph's structure: no name is made twice, every name that is used was made before, dimensions are sane.
Status checkGraph(const OnnxFile &file);

/// "/layers.0/Add"; a node without a name goes by what it makes.
std::string nodeName(const onnx::NodeProto &node);

/// "'/layers.0/Add' (Add)".
std::string describeNode(const onnx::NodeProto &node);

} // namespace quern::import

#endif // QUERN_IMPORT_ONNX_ONNXFILE_H
