#include "FakeModel.h"

#include <cstring>
#include <gtest/gtest.h>

namespace quern::test {

StepLog &StepLog::get() {
  static StepLog log;
  return log;
}

Manifest fakeManifest(int64_t vocabulary) {
  Manifest manifest;
  manifest.producer = "test";
  manifest.model = {"language_model", "qwen2", "fake", 1, 8, 1, 1, 8, 8, vocabulary, kFakeContext, 0};
  manifest.sizes = {"tokens", "outputs"};
  auto row = [](const char *name, const char *type, const char *size) {
    return Manifest::Tensor{name, type, {{-1, size}}};
  };
  manifest.inputs = {row("token_ids", "i32", "tokens"), row("positions", "i32", "tokens"),
                     row("caches", "ptr", "tokens"), row("cache_capacities", "i64", "tokens"),
                     row("output_rows", "i32", "outputs")};
  manifest.outputs = {row("logits", "f32", "outputs")};
  manifest.outputs[0].shape.push_back({vocabulary, ""});
  manifest.arena = {64, 64, {8, 8}};
  manifest.cache = {sizeof(int32_t), 64, {}};
  return manifest;
}

/// Rows are dealt out to threads; sums pass through the arena, so that barriers and capacities matter.
static void fakeStep(const QuernCall *call) {
  int64_t rows = call->sizes[0], outputs = call->sizes[1];
  auto *tokens = static_cast<const int32_t *>(call->buffers[0]);
  auto *positions = static_cast<const int32_t *>(call->buffers[1]);
  auto *caches = static_cast<int32_t *const *>(call->buffers[2]);
  auto *outputRows = static_cast<const int32_t *>(call->buffers[4]);
  auto *logits = static_cast<float *>(call->buffers[5]);
  auto *sums = reinterpret_cast<int64_t *>(call->arena + 64);
  for (int64_t r = call->thread; r < rows; r += call->threads)
    caches[r][positions[r]] = tokens[r];
  call->barrier(call->barrierContext);
  for (int64_t r = call->thread; r < rows; r += call->threads) {
    sums[r] = 0;
    for (int32_t p = 0; p <= positions[r]; ++p)
      sums[r] += caches[r][p];
  }
  call->barrier(call->barrierContext);
  int64_t vocabulary = 0;
  std::memcpy(&vocabulary, call->weights, sizeof vocabulary);
  for (int64_t o = call->thread; o < outputs; o += call->threads)
    for (int64_t v = 0; v < vocabulary; ++v)
      logits[o * vocabulary + v] = v == sums[outputRows[o]] % 256 ? 10.0f : 0.001f * float(v);
  if (call->thread == 0)
    StepLog::get().steps.push_back({rows, outputs});
}

/// The step, told of as two kernel calls.
static void fakeProfiledStep(const QuernCall *call) {
  fakeStep(call);
  for (int64_t op : {0, 1}) {
    call->barrier(call->barrierContext);
    call->mark(call, op);
  }
}

/// Counts ten for each round, and the weights' bytes.
static void fakeProbe(const QuernCall *call) {
  static_cast<int64_t *>(call->buffers[0])[16 * call->thread] = 10 * call->sizes[0] + call->sizes[1];
}

FakeModel makeFakeModel(int threads, int chunk) {
  FakeModel out;
  out.source = toySource();
  out.tables = buildTokenizer(out.source)->bytes;
  int64_t vocabulary = int64_t(out.source.tokens.size());
  out.weights.resize(sizeof vocabulary);
  std::memcpy(out.weights.data(), &vocabulary, sizeof vocabulary);
  runtime::ModelParts parts;
  parts.manifest = fakeManifest(vocabulary);
  parts.source = "fake";
  parts.templateText = "<|im_start|><|im_end|>";
  parts.tokenizerTables = out.tables;
  parts.weights = out.weights;
  parts.step = fakeStep;
  parts.entries = {{"step", fakeStep}, {"step_profiled", fakeProfiledStep}, {"probe_fake", fakeProbe}};
  parts.target = "fake";
  runtime::ModelOptions options;
  options.threads = threads;
  options.chunkTokens = chunk;
  auto model = runtime::Model::assemble(std::move(parts), options);
  if (!model) {
    ADD_FAILURE() << model.error().message;
    std::abort();
  }
  out.model = *std::move(model);
  StepLog::get().steps.clear();
  return out;
}

int32_t expectedNext(const std::vector<int32_t> &tokens) {
  int64_t sum = 0;
  for (int32_t token : tokens)
    sum += token;
  return int32_t(sum % 256);
}

} // namespace quern::test
