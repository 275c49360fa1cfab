// The C API: errors, models, sessions.
#include "CApi.h"
#include "DeviceList.h"

#include <cstddef>
#include <algorithm>
#include <cstring>

using namespace quern;
using namespace quern::runtime;

namespace {

thread_local std::string lastError;

/// A C callback as the functions inside take it.
package::Progress progressOf(quern_progress callback, void *user) {
  if (!callback)
    return {};
  return [callback, user](uint64_t done, uint64_t total) { return callback(user, done, total) == 0; };
}

std::vector<quern_tensor_view> viewsOf(const std::vector<Manifest::Tensor> &tensors) {
  std::vector<quern_tensor_view> out;
  for (const Manifest::Tensor &tensor : tensors) {
    quern_tensor_view view;
    for (const Manifest::Dimension &dimension : tensor.shape) {
      view.shape.push_back(dimension.value);
      view.names.push_back(dimension.value < 0 && !dimension.size.empty() ? dimension.size.c_str() : nullptr);
    }
    out.push_back(std::move(view));
  }
  return out;
}

quern_status describe(const std::vector<Manifest::Tensor> &tensors, const std::vector<quern_tensor_view> &views,
                      size_t index, quern_tensor_info *info) {
  if (!info || index >= views.size())
    return report(QUERN_INVALID_ARGUMENT, "there is no tensor " + std::to_string(index));
  *info = {tensors[index].name.c_str(), tensors[index].type.c_str(), views[index].shape.size(),
           views[index].shape.data(), views[index].names.data()};
  return QUERN_OK;
}

} // namespace

quern_status quern::runtime::report(quern_status status, std::string message) noexcept {
  lastError = std::move(message);
  return status;
}

const char *quern_version(void) { return QUERN_VERSION; }
const char *quern_last_error(void) { return lastError.c_str(); }

const char *quern_status_name(quern_status status) {
  static const char *const names[] = {"ok",          "invalid argument", "input/output error", "bad package",
                                      "unsupported", "out of memory",    "context full",       "buffer too small",
                                      "cancelled",   "internal error",   "device failed"};
  return size_t(status) < std::size(names) ? names[status] : "unknown status";
}

void quern_model_options_init(quern_model_options *options) {
  *options = {};
  options->struct_size = sizeof *options;
}

quern_status quern_model_open(const char *path, const quern_model_options *options, quern_model **model) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(path, "path"));
    QUERN_CHECK(need(model, "model"));
    *model = nullptr;
    ModelOptions chosen;
    if (options) {
      // Of the versions before a field, the options end there.
      bool withContext = options->struct_size == sizeof *options;
      bool withDevice = withContext || options->struct_size == offsetof(quern_model_options, context_length);
      bool withCacheType = withDevice || options->struct_size == offsetof(quern_model_options, device);
      if (!withCacheType && options->struct_size != offsetof(quern_model_options, cache_type))
        return fault(QUERN_INVALID_ARGUMENT, "the options were not set up by quern_model_options_init");
      chosen.threads = options->threads;
      chosen.chunkTokens = options->chunk_tokens;
      chosen.target = options->target ? options->target : "";
      chosen.masked = options->masked_features ? options->masked_features : "";
      chosen.cacheType = withCacheType && options->cache_type ? options->cache_type : "";
      chosen.device = withDevice && options->device ? options->device : "";
      chosen.checkKernels = withDevice && options->check_kernels != 0;
      chosen.contextLength = withContext ? options->context_length : 0;
      chosen.populate = options->populate != 0;
      chosen.verify = options->verify_weights != 0;
      chosen.progress = progressOf(options->progress, options->progress_user);
    }
    auto opened = Model::open(path, chosen);
    QUERN_CHECK(opened);
    auto out = std::make_unique<quern_model>();
    out->impl = *std::move(opened);
    out->inputs = viewsOf(out->impl->manifest().inputs);
    out->outputs = viewsOf(out->impl->manifest().outputs);
    *model = out.release();
    return {};
  });
}

void quern_model_close(quern_model *model) { delete model; }

quern_status quern_model_get_info(const quern_model *model, quern_model_info *info) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && info, "model or info"));
    bool withCode = info->struct_size == sizeof *info;
    bool withDevice = withCode || info->struct_size == offsetof(quern_model_info, device_code);
    if (!withDevice && info->struct_size != offsetof(quern_model_info, device))
      return fault(QUERN_INVALID_ARGUMENT, "struct_size of the info is not sizeof(quern_model_info)");
    const Model &impl = *model->impl;
    const Manifest::Model &m = impl.manifest().model;
    info->name = m.name.c_str();
    info->architecture = m.architecture.c_str();
    info->target = impl.target().c_str();
    info->chat_template = chatKindName(impl.chatTemplate().kind);
    info->parameters = uint64_t(m.parameters);
    info->weights_bytes = impl.weights().size();
    info->cache_bytes_per_position = uint64_t(impl.manifest().cache.bytesPerPosition);
    info->layers = m.layers;
    info->hidden = m.hidden;
    info->heads = m.heads;
    info->kv_heads = m.kvHeads;
    info->head_dim = m.headDim;
    info->feed_forward = m.feedForward;
    info->vocabulary = m.vocabulary;
    info->tokens = impl.isGraph() ? 0 : impl.tokenizer().realTokens();
    info->context_length = m.contextLength;
    info->threads = impl.threads();
    info->chunk_tokens = int32_t(impl.chunkTokens());
    if (withDevice) {
      info->device = impl.device() ? impl.device()->device().info().id.c_str() : "cpu";
      info->device_name = impl.device() ? impl.device()->device().info().name.c_str() : "";
      info->device_note = impl.deviceNote().c_str();
    }
    if (withCode)
      info->device_code = impl.device() ? impl.device()->codeForm().c_str() : "";
    return {};
  });
}

quern_status quern_devices_visit(quern_device_callback callback, void *user) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(callback, "callback"));
    for (const DeviceKind &kind : deviceKinds()) {
      auto devices = kind.list();
      std::string problem = !devices ? std::move(devices).error().message : devices->empty() ? "there is none" : "";
      quern_device_info none = {kind.api, "", "", 0, problem.c_str()};
      if (!problem.empty() && callback(user, &none) != 0)
        return {};
      for (bool usable : {true, false})
        for (const DeviceInfo &device : devices ? *devices : std::vector<DeviceInfo>()) {
          quern_device_info info = {device.id.c_str(), device.name.c_str(), device.target.c_str(), device.memoryBytes,
                                    device.problem.c_str()};
          if (device.problem.empty() == usable && callback(user, &info) != 0)
            return {};
        }
    }
    return {};
  });
}

const char *quern_model_manifest(const quern_model *model, size_t *size) {
  const std::string &text = model->impl->manifestText();
  if (size)
    *size = text.size();
  return text.c_str();
}

quern_status quern_model_verify_weights(const quern_model *model, quern_progress progress, void *user) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model, "model"));
    return model->impl->verifyWeights(progressOf(progress, user));
  });
}

size_t quern_model_input_count(const quern_model *model) { return model->inputs.size(); }
size_t quern_model_output_count(const quern_model *model) { return model->outputs.size(); }

quern_status quern_model_input(const quern_model *model, size_t index, quern_tensor_info *info) {
  return describe(model->impl->manifest().inputs, model->inputs, index, info);
}

quern_status quern_model_output(const quern_model *model, size_t index, quern_tensor_info *info) {
  return describe(model->impl->manifest().outputs, model->outputs, index, info);
}

quern_status quern_session_create(quern_model *model, int64_t context_length, quern_session **session) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && session, "model or session"));
    *session = nullptr;
    QUERN_CHECK(needText(*model));
    auto created = Session::create(*model->impl, context_length);
    QUERN_CHECK(created);
    *session = new quern_session{*std::move(created)};
    return {};
  });
}

void quern_session_close(quern_session *session) { delete session; }
int64_t quern_session_position(const quern_session *session) { return session->impl->position(); }
int64_t quern_session_context_length(const quern_session *session) { return session->impl->contextLength(); }
const int32_t *quern_session_tokens(const quern_session *session) { return session->impl->tokens().data(); }

quern_status quern_session_truncate(quern_session *session, int64_t length) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(session, "session"));
    return session->impl->truncate(length);
  });
}

quern_status quern_session_set_progress(quern_session *session, quern_progress progress, void *user) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(session, "session"));
    session->impl->setProgress(progressOf(progress, user));
    return {};
  });
}

quern_status quern_prefill(quern_session *session, const int32_t *tokens, size_t count) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(session && (tokens || count == 0), "session or tokens"));
    return session->impl->prefill({tokens, count});
  });
}

quern_status quern_prefill_all_logits(quern_session *session, const int32_t *tokens, size_t count, size_t first,
                                      quern_logits_callback callback, void *user) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(session && (tokens || count == 0) && callback, "session, tokens or callback"));
    size_t vocabulary = size_t(session->impl->model().vocabulary());
    return session->impl->prefillAllLogits({tokens, count}, first, [&](size_t at, size_t rows, const float *logits) {
      return callback(user, at, rows, logits, vocabulary) == 0;
    });
  });
}

quern_status quern_decode(quern_session *session, int32_t token) {
  return quern_decode_batch(&session, &token, 1);
}

quern_status quern_decode_batch(quern_session *const *sessions, const int32_t *tokens, size_t count) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(count == 0 || (sessions && tokens), "sessions or tokens"));
    std::vector<Session *> impls;
    for (size_t i = 0; i < count; ++i) {
      QUERN_CHECK(need(sessions[i], "a session"));
      impls.push_back(sessions[i]->impl.get());
    }
    return Session::decode(impls, {tokens, count});
  });
}

quern_status quern_logits(const quern_session *session, const float **logits, size_t *vocabulary) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(session && logits, "session or logits"));
    auto row = session->impl->logits();
    QUERN_CHECK(row);
    *logits = row->data();
    if (vocabulary)
      *vocabulary = row->size();
    return {};
  });
}
