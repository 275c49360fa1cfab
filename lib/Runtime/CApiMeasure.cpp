// The C API: measuring.
#include "CApi.h"

#include <algorithm>

using namespace quern;
using namespace quern::runtime;

quern_status quern_model_probe(quern_model *model, const char *name, int64_t rounds, uint64_t *work) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && name && work, "model, name or work"));
    auto done = model->impl->probe(name, rounds);
    QUERN_CHECK(done);
    *work = *done;
    return {};
  });
}

quern_status quern_model_profile_start(quern_model *model) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model, "model"));
    return model->impl->startProfile();
  });
}

quern_status quern_model_profile_stop(quern_model *model, uint64_t *nanoseconds, size_t capacity, size_t *count) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && count && (nanoseconds || capacity == 0), "model, count or nanoseconds"));
    std::vector<uint64_t> times = model->impl->stopProfile();
    *count = times.size();
    std::copy_n(times.begin(), std::min(capacity, times.size()), nanoseconds);
    if (capacity < times.size())
      return fault(QUERN_BUFFER_TOO_SMALL, "room for " + std::to_string(capacity) + " times, " +
                                               std::to_string(times.size()) + " are needed");
    return {};
  });
}
