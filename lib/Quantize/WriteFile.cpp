// Tensors in pieces of whole rows: several threads convert them, the calling thread writes them in order, and converts
// those that no other has begun. No piece is begun more than a few places ahead of the writer, which bounds the memory.
#include "quern/Quantize/QuantizeFile.h"

#include "quern/Import/GGUFWriter.h"
#include "quern/Import/WriteGGUF.h"
#include "quern/Quantize/RowConverter.h"
#include "quern/Support/Threads.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

using namespace quern;
using namespace quern::quantize;

static constexpr uint64_t kPieceWeights = uint64_t(1) << 20;
static constexpr size_t kPiecesPerThread = 3;

namespace {
/// Rows of one tensor.
struct Piece {
  const TensorPlan *plan;
  const RowConverter *converter; ///< null: rows stay what they are
  uint64_t firstRow, rows;
  std::vector<std::byte> out;
  bool done = false;
  std::string problem; ///< what is wrong with a row; empty: nothing

  /// Whether the source's bytes are the outcome's.
  bool copied() const { return !converter && !plan->headDim; }
};

/// What one thread reuses from piece to piece.
struct Scratch {
  std::vector<std::byte> source;
  std::vector<float> wide;
};

class Conversion {
public:
  Conversion(const gguf::File &file, const FilePlan &plan, unsigned threads)
      : file(file), plan(plan), ahead(threads * kPiecesPerThread) {}
  Status prepare();
  /// Converts pieces until none is left.
  void work();
  /// Writes pieces as they come.
  Status drain(gguf::Writer &writer, const std::function<void(double)> &progress);
  void stop();

private:
  Result<const RowConverter *> converterFor(const TensorPlan &plan);
  /// Begins the next piece; `lock` is held but while it is converted.
  void convertNext(std::unique_lock<std::mutex> &lock, Scratch &scratch);
  void convert(Piece &piece, Scratch &scratch) const;
  std::span<const std::byte> source(const Piece &piece, std::vector<std::byte> &room) const;

  const gguf::File &file;
  const FilePlan &plan;
  const size_t ahead;
  std::map<std::pair<const ElementType *, const ElementType *>, RowConverter> converters;
  std::vector<Piece> pieces;
  std::mutex mutex;
  std::condition_variable changed;
  size_t next = 0, written = 0; ///< pieces begun, pieces written
  bool stopped = false;
};
} // namespace

Result<const RowConverter *> Conversion::converterFor(const TensorPlan &tensor) {
  if (tensor.copied())
    return static_cast<const RowConverter *>(nullptr);
  auto found = converters.find({tensor.from, tensor.to});
  if (found == converters.end()) {
    QUERN_ASSIGN(RowConverter made, RowConverter::create(*tensor.from, *tensor.to));
    found = converters.emplace(std::pair(tensor.from, tensor.to), std::move(made)).first;
  }
  return &found->second;
}

Status Conversion::prepare() {
  for (const TensorPlan &tensor : plan.tensors) {
    QUERN_ASSIGN(const RowConverter *converter, converterFor(tensor));
    uint64_t rows = tensor.rows(), step = std::max<uint64_t>(1, kPieceWeights / tensor.columns());
    if (tensor.headDim) // whole heads, so that a piece's rows come from the same rows of the source
      step = (step + tensor.headDim - 1) / tensor.headDim * tensor.headDim;
    for (uint64_t row = 0; row < rows; row += step)
      pieces.push_back({&tensor, converter, row, std::min(step, rows - row), {}, false, {}});
  }
  return {};
}

/// Where a piece lies in the source; empty if its rows are made when they are read.
static std::span<const std::byte> mapped(const Piece &piece) {
  uint64_t rowBytes = piece.plan->tensor->data.size() / piece.plan->rows();
  return piece.plan->tensor->data.subspan(piece.firstRow * rowBytes, piece.rows * rowBytes);
}

/// The bytes of a piece in the source, perhaps made in `room`.
std::span<const std::byte> Conversion::source(const Piece &piece, std::vector<std::byte> &room) const {
  const gguf::Tensor &tensor = *piece.plan->tensor;
  uint64_t rowBytes = tensor.bytes() / piece.plan->rows();
  return *file.read(tensor.part, tensor.offset + piece.firstRow * rowBytes, piece.rows * rowBytes, room);
}

void Conversion::convert(Piece &piece, Scratch &scratch) const {
  std::span<const std::byte> from = source(piece, scratch.source);
  uint64_t fromBytes = from.size() / piece.rows, toBytes = piece.plan->bytes / piece.plan->rows();
  piece.out.resize(piece.rows * toBytes);
  for (uint64_t row = 0; row < piece.rows; ++row) {
    uint64_t at = piece.plan->headDim ? import::rowInHalves(row, piece.plan->headDim) : row;
    const std::byte *stored = from.data() + at * fromBytes;
    std::byte *out = piece.out.data() + row * toBytes;
    if (!piece.converter) {
      std::copy_n(stored, toBytes, out);
    } else if (Status status = piece.converter->convert(stored, piece.plan->columns(), piece.plan->importance,
                                                        scratch.wide, out);
               !status) {
      piece.problem = "row " + std::to_string(piece.firstRow + at) + " " + status.error().message;
      return;
    }
  }
}

void Conversion::work() {
  Scratch scratch;
  std::unique_lock lock(mutex);
  for (;;) {
    changed.wait(lock, [&] { return stopped || next == pieces.size() || next < written + ahead; });
    if (stopped || next == pieces.size())
      return;
    convertNext(lock, scratch);
  }
}

void Conversion::convertNext(std::unique_lock<std::mutex> &lock, Scratch &scratch) {
  Piece &piece = pieces[next++];
  lock.unlock();
  if (!piece.copied())
    convert(piece, scratch);
  lock.lock();
  piece.done = true;
  changed.notify_all();
}

void Conversion::stop() {
  std::lock_guard lock(mutex);
  stopped = true;
  changed.notify_all();
}

Status Conversion::drain(gguf::Writer &writer, const std::function<void(double)> &progress) {
  Scratch scratch;
  for (Piece &piece : pieces) {
    std::unique_lock lock(mutex);
    if (&piece == pieces.data() + next) // no other thread has come to it, or there is none
      convertNext(lock, scratch);
    changed.wait(lock, [&] { return piece.done || stopped; });
    if (!piece.done)
      return fail(file.path() + ": the conversion stopped");
    lock.unlock();
    if (!piece.problem.empty())
      return fail(file.path() + ": tensor " + file.described(piece.plan->tensor->name) + ": " + piece.problem);
    QUERN_TRY(writer.write(piece.copied() ? source(piece, scratch.source) : std::span<const std::byte>(piece.out)));
    std::vector<std::byte>().swap(piece.out); // gives its memory back
    file.release(mapped(piece));
    lock.lock();
    ++written;
    changed.notify_all();
    if (progress)
      progress(double(written) / double(pieces.size()));
  }
  return {};
}

/// The source's metadata with what has changed.
static std::vector<gguf::File::Entry> metadataFor(const gguf::File &file, const uint32_t &fileType) {
  static constexpr uint32_t version = 2; // of the block layouts: since 2023 the only one
  std::pair<std::string_view, const uint32_t *> ours[] = {{"general.file_type", &fileType},
                                                          {"general.quantization_version", &version}};
  std::vector<gguf::File::Entry> entries(file.metadata().begin(), file.metadata().end());
  for (auto [key, number] : ours) {
    gguf::Value value;
    value.type = gguf::ValueType::U32;
    value.bytes = std::as_bytes(std::span(number, 1));
    auto found = std::ranges::find(entries, key, &gguf::File::Entry::key);
    if (found == entries.end())
      entries.push_back({key, value});
    else
      found->value = value;
  }
  return entries;
}

Status quantize::writeFile(const gguf::File &file, const FilePlan &plan, const FileOptions &options,
                           const std::string &output) {
  Conversion conversion(file, plan, options.threads);
  QUERN_TRY(conversion.prepare());
  std::vector<gguf::TensorInfo> infos;
  for (const TensorPlan &tensor : plan.tensors)
    infos.push_back({std::string(tensor.tensor->name),
                     tensor.copied() ? tensor.tensor->typeId : uint32_t(tensor.to->ggufType), tensor.tensor->dims,
                     tensor.bytes});
  QUERN_ASSIGN(gguf::Writer writer, gguf::Writer::create(output, metadataFor(file, plan.fileType), infos));
  Status status;
  runOnThreads(options.threads + 1, [&](unsigned thread) {
    try {
      if (thread > 0)
        return conversion.work();
      status = conversion.drain(writer, options.progress);
      conversion.stop();
    } catch (...) { // nobody shall wait for a piece of this thread
      conversion.stop();
      throw;
    }
  });
  QUERN_TRY(status);
  return writer.finish();
}
