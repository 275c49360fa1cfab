#include "RunGraph.h"
#include "Npy.h"

#include <cstdio>
#include <map>
#include <memory>

using namespace quern;
using namespace quern::cli;

namespace {
struct RequestCloser {
  void operator()(quern_request *request) const { quern_request_close(request); }
};
} // namespace

static Status checked(quern_status status) {
  if (status == QUERN_OK)
    return {};
  return fail(quern_last_error());
}

/// "name=file" pairs; each name once, and one of `known`.
static Result<std::map<std::string, std::string>> split(const std::vector<std::string> &pairs, const char *kind,
                                                        const std::vector<quern_tensor_info> &known) {
  std::map<std::string, std::string> out;
  std::string names;
  for (const quern_tensor_info &info : known)
    names += (names.empty() ? "" : ", ") + std::string(info.name);
  for (const std::string &pair : pairs) {
    size_t at = pair.rfind('=');
    std::string name = pair.substr(0, at);
    if (at == std::string::npos || at + 1 == pair.size())
      return fail("'" + pair + "' should be NAME=FILE.npy");
    bool exists = false;
    for (const quern_tensor_info &info : known)
      exists |= name == info.name;
    if (!exists)
      return fail("the model has no " + std::string(kind) + " '" + name + "'; it has " + names);
    if (!out.emplace(name, pair.substr(at + 1)).second)
      return fail(std::string(kind) + " '" + name + "' is given twice");
  }
  return out;
}

static std::string describe(const std::string &type, const int64_t *shape, size_t rank) {
  std::string text = type + " [";
  for (size_t i = 0; i < rank; ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

Status cli::runGraph(api::Model &model, const GraphFiles &files) {
  quern_model *handle = model.get();
  std::vector<quern_tensor_info> inputs(quern_model_input_count(handle)), outputs(quern_model_output_count(handle));
  for (size_t i = 0; i < inputs.size(); ++i)
    QUERN_TRY(checked(quern_model_input(handle, i, &inputs[i])));
  for (size_t i = 0; i < outputs.size(); ++i)
    QUERN_TRY(checked(quern_model_output(handle, i, &outputs[i])));
  QUERN_ASSIGN(auto given, split(files.inputs, "input", inputs));
  QUERN_ASSIGN(auto wanted, split(files.outputs, "output", outputs));
  quern_request *created = nullptr;
  QUERN_TRY(checked(quern_request_create(handle, &created)));
  std::unique_ptr<quern_request, RequestCloser> request(created);
  std::vector<NpyArray> arrays(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    auto found = given.find(inputs[i].name);
    if (found == given.end())
      return fail("input '" + std::string(inputs[i].name) + "' is missing; give --inputs " + inputs[i].name + "=FILE.npy");
    QUERN_ASSIGN(arrays[i], readNpy(found->second));
    std::string type = inputs[i].type;
    if (arrays[i].type != (type == "bf16" ? "u16" : type))
      return fail("'" + found->second + "' holds " + arrays[i].type + ", but input '" + inputs[i].name + "' is " + type);
    QUERN_TRY(checked(quern_request_set_input(request.get(), i, arrays[i].bytes.data(), arrays[i].shape.data(),
                                              arrays[i].shape.size())));
  }
  QUERN_TRY(checked(quern_request_run(request.get())));
  for (size_t i = 0; i < outputs.size(); ++i) {
    const void *data;
    const int64_t *shape;
    size_t rank;
    QUERN_TRY(checked(quern_request_output(request.get(), i, &data, &shape, &rank)));
    uint64_t bytes = npyElementBytes(outputs[i].type);
    for (size_t d = 0; d < rank; ++d)
      bytes *= uint64_t(shape[d]);
    auto file = wanted.find(outputs[i].name);
    if (file != wanted.end())
      QUERN_TRY(writeNpy(file->second, outputs[i].type, {shape, shape + rank}, data, bytes));
    std::printf("%s: %s%s%s\n", outputs[i].name, describe(outputs[i].type, shape, rank).c_str(),
                file == wanted.end() ? "" : " in ", file == wanted.end() ? "" : file->second.c_str());
  }
  return {};
}
