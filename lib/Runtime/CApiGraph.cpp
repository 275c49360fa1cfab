// The C API: graphs that are no language models.
#include "CApi.h"
#include "Request.h"

using namespace quern;
using namespace quern::runtime;

struct quern_request {
  std::unique_ptr<Request> impl;
};

int quern_model_is_graph(const quern_model *model) { return model->impl->isGraph() ? 1 : 0; }

quern_status quern_request_create(quern_model *model, quern_request **request) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && request, "model or request"));
    *request = nullptr;
    auto created = Request::create(*model->impl);
    QUERN_CHECK(created);
    *request = new quern_request{*std::move(created)};
    return {};
  });
}

void quern_request_close(quern_request *request) { delete request; }

quern_status quern_request_set_input(quern_request *request, size_t index, const void *data, const int64_t *shape,
                                     size_t rank) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(request && (shape || rank == 0), "request or shape"));
    return request->impl->setInput(index, data, {shape, rank});
  });
}

quern_status quern_request_set_output(quern_request *request, size_t index, void *data, uint64_t bytes) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(request, "request"));
    return request->impl->setOutput(index, data, bytes);
  });
}

quern_status quern_request_expected_shape(const quern_request *request, size_t index, int64_t *shape, size_t rank) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(request && (shape || rank == 0), "request or shape"));
    const Manifest &manifest = request->impl->model().manifest();
    if (index >= manifest.outputs.size() || manifest.outputs[index].shape.size() != rank)
      return fault(QUERN_INVALID_ARGUMENT, "there is no output " + std::to_string(index) + " of rank " +
                                               std::to_string(rank));
    auto sizes = request->impl->sizes();
    QUERN_CHECK(sizes);
    for (size_t i = 0; i < rank; ++i) {
      const Manifest::Dimension &dimension = manifest.outputs[index].shape[i];
      shape[i] = dimension.value;
      for (size_t s = 0; dimension.value < 0 && s < manifest.sizes.size(); ++s)
        if (manifest.sizes[s] == dimension.size)
          shape[i] = (*sizes)[s];
    }
    return {};
  });
}

quern_status quern_request_run(quern_request *request) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(request, "request"));
    return request->impl->run();
  });
}

quern_status quern_request_output(const quern_request *request, size_t index, const void **data, const int64_t **shape,
                                  size_t *rank) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(request && data && shape && rank, "an argument"));
    auto output = request->impl->output(index);
    QUERN_CHECK(output);
    *data = (*output)->data;
    *shape = (*output)->shape.data();
    *rank = (*output)->shape.size();
    return {};
  });
}
