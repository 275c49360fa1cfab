// Executes the packer's plan: threads take runs of rows, bring them into their layout, and write them where it says.
#include "PanelPacker.h"

#include "quern/Codegen/PackPlan.h"
#include "quern/Codegen/Passes.h"
#include "quern/Formats/Decoder.h"
#include "quern/Support/Threads.h"
#include "quern/Transforms/Names.h"
#include "quern/Transforms/StoredRows.h"

#include <atomic>
#include <mutex>
#include <numeric>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;
using formats::FormatSpec;

int64_t codegen::packedSectionBytes(ModuleOp module) {
  int64_t end = 0;
  for (auto source : module.getOps<dq::SourceOp>())
    if (auto offset = source->getAttrOfType<IntegerAttr>(kPackedOffset))
      end = std::max(end, offset.getInt() + source->getAttrOfType<IntegerAttr>(kPackedBytes).getInt());
  return (end + kLineBytes - 1) / kLineBytes * kLineBytes;
}

namespace {

/// A contiguous run of rows of one weight, of whole panels on the CPU: what a thread packs and writes at once.
struct Job {
  std::string name; ///< for messages
  RankedTensorType type;
  transforms::StoredRows rows;
  const FormatSpec *spec; ///< null for plain numbers
  int64_t offset, first, count;
  std::optional<int64_t> sums; ///< where those of all rows lie, if they are wanted

  int64_t k() const { return type.getDimSize(1); }
};

constexpr int64_t kJobBytes = int64_t(1) << 20;

Status packVector(const Job &job, const PackStreams &streams) {
  std::vector<uint8_t> padded((job.type.getDimSize(0) + 15) / 16 * 64);
  transforms::StoredRows::Room room;
  QUERN_ASSIGN(std::span<const uint8_t> stored, job.rows.read(0, 1, room));
  std::ranges::copy(stored, padded.begin());
  return streams.write(job.offset, padded);
}

/// Adds up rows as `dq.dequantize` widens them: `bytes` holds whole rows, and `sums` has one for each.
void sumRows(const Job &job, std::span<const uint8_t> bytes, std::span<float> sums) {
  formats::Decoder decoder(*job.spec);
  std::vector<float> wide(job.k());
  for (auto [row, sum] : llvm::enumerate(sums)) {
    decoder.decodeRow(bytes.data() + int64_t(row) * job.rows.rowBytes(), job.k(), wide.data());
    sum = float(std::accumulate(wide.begin(), wide.end(), 0.0)); // in double, in ascending order
  }
}

Status packPanels(const Job &job, const PackStreams &streams) {
  QUERN_ASSIGN(PanelLayout layout, layoutFor(job.type.getElementType()));
  int64_t panelBytes = layout.panelBytes(job.k()), rowBytes = job.rows.rowBytes();
  transforms::StoredRows::Room room;
  std::vector<uint8_t> out((job.count + kPanelRows - 1) / kPanelRows * panelBytes);
  PanelPacker pack = panelPacker(layout, job.spec, job.k());
  std::vector<float> sums(job.sums ? rowSumsBytes(job.count) / sizeof(float) : 0);
  for (int64_t done = 0; done < job.count; done += kPanelRows) {
    int64_t count = std::min(kPanelRows, job.count - done);
    QUERN_ASSIGN(std::span<const uint8_t> bytes, job.rows.read(job.first + done, count, room));
    const uint8_t *rows[kPanelRows];
    for (int64_t r = 0; r < count; ++r)
      rows[r] = bytes.data() + r * rowBytes;
    pack(rows, count, out.data() + done / kPanelRows * panelBytes);
    if (job.sums)
      sumRows(job, bytes, std::span(sums).subspan(done, count));
  }
  if (job.sums) {
    std::span<const uint8_t> made(reinterpret_cast<const uint8_t *>(sums.data()), sums.size() * sizeof(float));
    QUERN_TRY(streams.write(*job.sums + job.first * int64_t(sizeof(float)), made));
  }
  return streams.write(job.offset + job.first / kPanelRows * panelBytes, out);
}

Status packGpuRun(const Job &job, const PackStreams &streams) {
  transforms::StoredRows::Room room;
  QUERN_ASSIGN(std::span<const uint8_t> stored, job.rows.read(job.first, job.count, room));
  QUERN_ASSIGN(GpuLayout layout, gpuLayoutFor(job.type.getElementType()));
  std::vector<int64_t> starts = layout.regions(job.type.getDimSize(0), job.k()), sizes = layout.rowBytes(job.k());
  std::vector<std::vector<uint8_t>> regions;
  std::vector<uint8_t *> to;
  for (int64_t size : sizes) {
    regions.emplace_back(job.count * size);
    to.push_back(regions.back().data());
  }
  packGpuRows(layout, job.spec, job.count, job.k(), stored, to);
  if (layout.mostWeight(regions) > kGpuMostWeight)
    return fail("weight " + job.name + " has a scale for numbers beyond " + std::to_string(int(kGpuMostWeight)) +
                ", which code for GPUs does not multiply; leave GPU targets out, or check the tensor");
  for (size_t i = 0; i < regions.size(); ++i)
    QUERN_TRY(streams.write(job.offset + starts[i] + job.first * sizes[i], regions[i]));
  return {};
}

Status packJob(const Job &job, PackedFor packedFor, const PackStreams &streams) {
  if (job.type.getRank() == 1)
    return packVector(job, streams);
  return packedFor == PackedFor::Gpu ? packGpuRun(job, streams) : packPanels(job, streams);
}

Result<std::vector<Job>> planJobs(ModuleOp module, const PackStreams &streams) {
  std::vector<Job> jobs;
  for (auto source : module.getOps<dq::SourceOp>()) {
    auto place = source->getAttrOfType<IntegerAttr>(kPackedOffset);
    if (!place)
      continue;
    auto type = cast<RankedTensorType>(source.getType());
    auto rows = transforms::StoredRows::get(source, streams.source);
    if (!rows)
      return fail("weight " + transforms::describe(source) + ": " + rows.error().message);
    Job job{transforms::describe(source), type, *std::move(rows), nullptr, place.getInt(), 0, 1, {}};
    if (type.getRank() == 1) {
      if (!type.getElementType().isF32() && !type.getElementType().isInteger(32))
        return fail("weight " + job.name + ": vectors must be f32, or i32 for the order of columns");
      jobs.push_back(job);
      continue;
    }
    if (auto block = dyn_cast<dq::BlockType>(type.getElementType()))
      job.spec = &block.getFormat().getSpec();
    if (auto sums = source->getAttrOfType<IntegerAttr>(kPackedSums))
      job.sums = sums.getInt();
    int64_t rowCount = type.getDimSize(0), panelBytes = kPanelRows * job.rows.rowBytes();
    int64_t step = kPanelRows * std::max<int64_t>(1, kJobBytes / std::max<int64_t>(1, panelBytes));
    for (int64_t first = 0; first < rowCount; first += step) {
      job.first = first;
      job.count = std::min(step, rowCount - first);
      jobs.push_back(job);
    }
  }
  return jobs;
}

} // namespace

Status codegen::packWeights(ModuleOp module, PackedFor packedFor, unsigned threads, const PackStreams &streams) {
  QUERN_ASSIGN(std::vector<Job> jobs, planJobs(module, streams));
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  Status status;
  auto work = [&](bool reports) {
    for (size_t i = next++; i < jobs.size(); i = next++) {
      if (Status packed = packJob(jobs[i], packedFor, streams); !packed) {
        std::lock_guard lock(mutex);
        if (status)
          status = fail("weight " + jobs[i].name + ": " + packed.error().message);
        next = jobs.size();
      }
      if (reports && streams.progress)
        streams.progress(double(i + 1) / double(jobs.size()));
    }
  };
  runOnThreads(threads, [&](unsigned thread) { work(thread == 0); });
  return status;
}
