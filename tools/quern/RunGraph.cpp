#include "RunGraph.h"
#include "Npy.h"
#include "quern/Runtime/ElementBytes.h"

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

/// The name before the '=' of a pair: the longest of `known`, as names may hold a '=' too, else up to the first one.
static std::string nameOf(const std::string &pair, const std::vector<quern_tensor_info> &known) {
  std::string found;
  for (const quern_tensor_info &info : known)
    if (std::string name = info.name; pair.starts_with(name + "=") && name.size() > found.size())
      found = name;
  return found.empty() ? pair.substr(0, pair.find('=')) : found;
}

/// "name=file" pairs; each name once, and one of `known`.
static Result<std::map<std::string, std::string>> split(const std::vector<std::string> &pairs, const char *kind,
                                                        const std::vector<quern_tensor_info> &known) {
  std::map<std::string, std::string> out;
  std::string names;
  for (const quern_tensor_info &info : known)
    names += (names.empty() ? "" : ", ") + std::string(info.name);
  for (const std::string &pair : pairs) {
    std::string name = nameOf(pair, known);
    if (name.size() + 1 >= pair.size())
      return fail("'" + pair + "' should be NAME=FILE.npy");
    bool exists = false;
    for (const quern_tensor_info &info : known)
      exists |= name == info.name;
    if (!exists)
      return fail("the model has no " + std::string(kind) + " '" + name + "'; it has " + names);
    if (!out.emplace(name, pair.substr(name.size() + 1)).second)
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

/// The array of a file, which must have the input's type.
static Result<NpyArray> readInput(const quern_tensor_info &input, const std::map<std::string, std::string> &given) {
  std::string name = input.name, type = input.type;
  auto found = given.find(name);
  if (found == given.end())
    return fail("input '" + name + "' is missing; give --inputs " + name + "=FILE.npy");
  QUERN_ASSIGN(NpyArray array, readNpy(found->second));
  if (array.type != (type == "bf16" ? "u16" : type))
    return fail("'" + found->second + "' holds " + array.type + ", but input '" + name + "' is " + type);
  return array;
}

/// Writes the outputs that are wanted, and prints the shapes of all.
static Status writeOutputs(const quern_request *request, const std::vector<quern_tensor_info> &outputs,
                           const std::map<std::string, std::string> &wanted) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const void *data;
    const int64_t *shape;
    size_t rank;
    QUERN_TRY(checked(quern_request_output(request, i, &data, &shape, &rank)));
    uint64_t bytes = elementBytes(outputs[i].type);
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
    QUERN_ASSIGN(arrays[i], readInput(inputs[i], given));
    QUERN_TRY(checked(quern_request_set_input(request.get(), i, arrays[i].bytes.data(), arrays[i].shape.data(),
                                              arrays[i].shape.size())));
  }
  QUERN_TRY(checked(quern_request_run(request.get())));
  return writeOutputs(request.get(), outputs, wanted);
}
