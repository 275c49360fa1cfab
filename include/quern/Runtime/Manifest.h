// The manifest of a package (JSON, docs/package-format.md) as a struct: the compiler fills it and writes it, the runtime
// reads it and trusts nothing in it.
#ifndef QUERN_RUNTIME_MANIFEST_H
#define QUERN_RUNTIME_MANIFEST_H

#include "quern/Support/Result.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

struct Manifest {
  struct Model {
    std::string kind = "language_model", architecture, name;
    int64_t layers = 0, hidden = 0, heads = 0, kvHeads = 0, headDim = 0, feedForward = 0;
    int64_t vocabulary = 0, contextLength = 0, parameters = 0;
  };
  /// A dimension is a number, or the name of a dynamic size.
  struct Dimension {
    int64_t value = -1; ///< -1: dynamic
    std::string size;
  };
  struct Tensor {
    std::string name, type; ///< "i32", "i64", "f32", "ptr"
    std::vector<Dimension> shape;
  };
  /// Bytes, see QuernCall::arena; `sizes` has one entry for each of `Manifest::sizes`.
  struct Arena {
    int64_t constant = 0, perThread = 0;
    std::vector<int64_t> sizes;
  };
  struct Cache {
    int64_t bytesPerPosition = 0; ///< of type "f16"; in an open model, of the type in use
    int64_t granule = 64; ///< capacities are multiples of this
    /// Bytes for each position in a cache of each type that there is code for; "f16" alone where the package says nothing.
    std::map<std::string, int64_t> types;
  };
  struct Code {
    std::string target, section;
    std::vector<std::string> features;      ///< names as in docs/runtime.md, all needed
    std::map<std::string, int64_t> entries; ///< offset of each entry in the section; "step" is the language model's
  };
  /// Code for an accelerator, whose runs a DeviceProgram describes.
  struct Device {
    std::string target; ///< "nvptx:sm_80", "spirv"
    std::string api;    ///< "cuda" or "opencl"
    std::string section, program; ///< of the module (PTX text, SPIR-V) and of its program
    std::map<std::string, std::string> cubins; ///< sections of machine code, by compute capability ("80"); may be empty
  };
  struct Tokenizer {
    int64_t bos = -1;
    std::vector<int64_t> eos;
    bool addBos = false;
    int64_t vocabulary = 0; ///< number of real tokens
  };

  std::string producer;
  Model model;
  std::vector<std::string> sizes;
  std::vector<Tensor> inputs, outputs;
  Arena arena;
  Cache cache;
  std::vector<Code> code;      ///< in order of preference; may be empty where there are devices
  std::vector<Device> devices; ///< in order of preference; may be empty
  Tokenizer tokenizer;
  std::string chatTemplate = "none"; ///< "deepseek-r1", "chatml", "custom", "none"
  std::map<std::string, double> generation; ///< defaults for sampling, e.g. "temperature"
};

/// Reads and checks: types, ranges, names that refer to each other, no size that could overflow. `source` is for
/// messages.
Result<Manifest> parseManifest(std::string_view json, const std::string &source);

/// The manifest as indented JSON with keys in a fixed order.
std::string printManifest(const Manifest &manifest);

} // namespace quern

#endif // QUERN_RUNTIME_MANIFEST_H
