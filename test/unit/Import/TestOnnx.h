// Builds ONNX models in memory, right or wrong at will.
#ifndef QUERN_TEST_UNIT_IMPORT_TESTONNX_H
#define QUERN_TEST_UNIT_IMPORT_TESTONNX_H

#include "quern/Import/Onnx/OnnxFile.h"

namespace quern::import::test {

/// A model in the making: opset 21, no nodes.
struct OnnxModel {
  onnx::ModelProto message;
  onnx::GraphProto *graph = message.mutable_graph();

  OnnxModel() {
    message.set_ir_version(10);
    message.add_opset_import()->set_version(21);
  }
  static void describe(onnx::ValueInfoProto *value, const std::string &name, std::vector<int64_t> shape,
                       int32_t type = onnx::TensorProto::FLOAT) {
    value->set_name(name);
    auto *tensor = value->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    tensor->mutable_shape();
    for (int64_t size : shape) {
      auto *dimension = tensor->mutable_shape()->add_dim();
      size == -1 ? dimension->set_dim_param("n") : dimension->set_dim_value(size);
    }
  }
  OnnxModel &input(const std::string &name, std::vector<int64_t> shape) {
    describe(graph->add_input(), name, std::move(shape));
    return *this;
  }
  OnnxModel &output(const std::string &name, std::vector<int64_t> shape) {
    describe(graph->add_output(), name, std::move(shape));
    return *this;
  }
  OnnxModel &node(const std::string &op, std::vector<std::string> inputs, std::vector<std::string> outputs) {
    onnx::NodeProto *node = graph->add_node();
    node->set_name("the_" + op);
    node->set_op_type(op);
    for (const std::string &name : inputs)
      node->add_input(name);
    for (const std::string &name : outputs)
      node->add_output(name);
    return *this;
  }
  onnx::TensorProto *initializer(const std::string &name, std::vector<int64_t> dims,
                                 int32_t type = onnx::TensorProto::FLOAT) {
    onnx::TensorProto *tensor = graph->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(type);
    for (int64_t size : dims)
      tensor->add_dims(size);
    return tensor;
  }
  Result<OnnxFile> read(const std::string &path = "folder/test.onnx") const {
    std::string bytes = message.SerializeAsString();
    return OnnxFile::fromBytes(std::as_bytes(std::span(bytes)), path);
  }
};

} // namespace quern::import::test

#endif // QUERN_TEST_UNIT_IMPORT_TESTONNX_H
