// A node as an operator's importer sees it, and the table of operators.
#ifndef QUERN_LIB_IMPORT_ONNX_NODE_H
#define QUERN_LIB_IMPORT_ONNX_NODE_H

#include "Emitter.h"
#include "quern/Import/Onnx/OnnxFile.h"

#include "llvm/ADT/StringMap.h"

namespace quern::import {

/// Turns tensors of the file into values.
class Constants {
public:
  virtual ~Constants() = default;
  virtual Result<Tensor> constant(const onnx::TensorProto &tensor) = 0;
};

class Node {
public:
  Node(OnnxFile &file, const onnx::NodeProto &proto, Emitter &e, llvm::StringMap<Tensor> &values, Constants &pool)
      : file(file), proto(proto), e(e), values(values), pool(pool) {}

  const std::string &op() const { return proto.op_type(); }
  int64_t opset() const { return file.opset(proto.domain()); }

  int inputs() const { return proto.input_size(); }
  bool has(int i) const { return i < proto.input_size() && !proto.input(i).empty(); }
  /// Input i, which must be there.
  Result<Tensor> input(int i);
  Result<std::vector<Tensor>> allInputs();
  /// A tensor of the file, or one that `OnnxFile::keep` holds.
  Result<Tensor> constant(const onnx::TensorProto &tensor) { return pool.constant(tensor); }
  /// The integers of input i, which must be known when compiling.
  Result<std::vector<int64_t>> constants(int i, const char *what);
  /// The integers of input i, known or read at run time; their number must be known.
  Result<Dims> sizes(int i, const char *what);

  int outputs() const { return proto.output_size(); }
  bool wants(int i) const { return i < proto.output_size() && !proto.output(i).empty(); }
  /// Output i becomes this tensor.
  void set(int i, Tensor tensor);
  /// Fails if a check that was emitted for this node can only fail.
  Status checked() const;
  /// For importers that make their only output.
  Status finish(Result<Tensor> tensor);

  const onnx::AttributeProto *attribute(const char *name) const;
  int64_t integer(const char *name, int64_t otherwise) const;
  double real(const char *name, double otherwise) const;
  std::string text(const char *name, const char *otherwise) const;
  std::optional<std::vector<int64_t>> integers(const char *name) const;
  /// An axis counted from the end if negative, or an error.
  Result<int64_t> axis(int64_t axis, int64_t rank) const;
  /// Which of `rank` axes are in the list.
  Result<llvm::SmallVector<bool>> axisSet(const std::vector<int64_t> &axes, int64_t rank) const;
  /// `axes` as attribute or, in newer opsets, as input 1; none if absent.
  Result<std::optional<std::vector<int64_t>>> axes();

  /// An index as ONNX has it, in a body: negative ones count from the end; others outside end the run.
  mlir::Value checkedIndex(const Scalars &s, mlir::Value index, mlir::Value size);

  /// "'model.onnx': node 'name' (Op): message".
  tl::unexpected<Error> wrong(const std::string &message) const {
    return file.wrong("node " + describeNode(proto), message);
  }
  tl::unexpected<Error> wrongType(int32_t type) const;

  OnnxFile &file;
  const onnx::NodeProto &proto;
  Emitter &e;

private:
  llvm::StringMap<Tensor> &values;
  Constants &pool;
};

/// Whether elements of this type can be indices.
inline bool isIndex(int32_t type) { return type == kI32 || type == kI64; }

using Importer = Status (*)(Node &);
using Operators = llvm::StringMap<Importer>; ///< by name, other domains as "domain.name"

// One for each family, in the file of that name.
void addElementwise(Operators &operators);
void addUnary(Operators &operators);
void addCasts(Operators &operators);
void addShapes(Operators &operators);
void addIndexing(Operators &operators);
void addSlices(Operators &operators);
void addReductions(Operators &operators);
void addNormalization(Operators &operators);
void addMatrices(Operators &operators);
void addScatter(Operators &operators);
void addOrder(Operators &operators);
void addFilling(Operators &operators);
void addQuantized(Operators &operators);
void addAttention(Operators &operators);

} // namespace quern::import

#endif // QUERN_LIB_IMPORT_ONNX_NODE_H
