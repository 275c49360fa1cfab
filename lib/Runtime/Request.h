// One computation of a compiled graph: named tensors in, named tensors out.
#ifndef QUERN_LIB_RUNTIME_REQUEST_H
#define QUERN_LIB_RUNTIME_REQUEST_H

#include "Model.h"

#include <cstddef>
#include <span>
#include <vector>

namespace quern::runtime {

class Request {
public:
  /// Fails if the model is no graph. The model must outlive the request.
  static Outcome<std::unique_ptr<Request>> create(Model &model);

  /// `data` is row-major and stays the caller's until the run; `shape` must fit what the manifest says.
  Outcome<void> setInput(size_t index, const void *data, std::span<const int64_t> shape);
  /// Where output `index` shall go, with room for `bytes`; null: into memory of the request.
  Outcome<void> setOutput(size_t index, void *data, uint64_t bytes);
  Outcome<void> run();

  struct Output {
    std::vector<int64_t> shape; ///< of the last run
    const void *data = nullptr; ///< the caller's buffer, or the request's memory
    uint64_t bytes = 0;
  };
  /// Fails until a run has made it.
  Outcome<const Output *> output(size_t index) const;
  Model &model() const { return owner; }
  /// The sizes that the inputs set so far give, in the manifest's order; -1: not known yet.
  Outcome<std::vector<int64_t>> sizes() const;

private:
  explicit Request(Model &model);
  Outcome<void> takeOutputs();

  struct Input {
    const void *data = nullptr;
    std::vector<int64_t> shape;
    bool set = false;
  };
  struct Room {
    void *data = nullptr;
    uint64_t bytes = 0;
  };
  Model &owner;
  std::vector<Input> inputs;
  std::vector<Room> rooms;
  std::vector<Output> outputs;
  std::vector<std::vector<std::byte>> own; ///< memory of outputs without a caller's buffer
  std::vector<QuernResult> results;
  bool hasRun = false; ///< the last run came to its end
};

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_REQUEST_H
