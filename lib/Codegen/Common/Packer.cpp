// Executes the packer's plan: threads take runs of panels, read their rows, and write them where the plan says.
#include "PanelPacker.h"

#include "quern/Codegen/PackPlan.h"
#include "quern/Codegen/Passes.h"
#include "quern/Support/Threads.h"
#include "quern/Transforms/StoredRows.h"

#include <atomic>
#include <mutex>

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

/// A contiguous run of panels of one weight: what a thread packs and writes at once.
struct Job {
  std::string name;
  RankedTensorType type;
  PanelLayout layout;
  const FormatSpec *spec;
  transforms::StoredRows rows;
  int64_t offset, firstPanel, panels;
};

constexpr int64_t kJobBytes = int64_t(1) << 20;

Status packVector(const Job &job, const PackStreams &streams) {
  std::vector<uint8_t> padded((job.type.getDimSize(0) + 15) / 16 * 64);
  transforms::StoredRows::Room room;
  QUERN_ASSIGN(std::span<const uint8_t> stored, job.rows.read(0, 1, room));
  std::ranges::copy(stored, padded.begin());
  return streams.write(job.offset, padded);
}

Status packJob(const Job &job, const PackStreams &streams) {
  if (job.type.getRank() == 1)
    return packVector(job, streams);
  int64_t n = job.type.getDimSize(0), k = job.type.getDimSize(1), panelBytes = job.layout.panelBytes(k);
  int64_t rowBytes = job.rows.rowBytes();
  transforms::StoredRows::Room room;
  std::vector<uint8_t> out(job.panels * panelBytes);
  PanelPacker pack = panelPacker(job.layout, job.spec, k);
  for (int64_t p = 0; p < job.panels; ++p) {
    int64_t first = (job.firstPanel + p) * kPanelRows, count = std::min(kPanelRows, n - first);
    QUERN_ASSIGN(std::span<const uint8_t> bytes, job.rows.read(first, count, room));
    const uint8_t *rows[kPanelRows];
    for (int64_t r = 0; r < count; ++r)
      rows[r] = bytes.data() + r * rowBytes;
    pack(rows, count, out.data() + p * panelBytes);
  }
  return streams.write(job.offset + job.firstPanel * panelBytes, out);
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
      return fail("weight '" + source.getSymName().str() + "': " + rows.error().message);
    Job job{source.getSymName().str(), type, {}, nullptr, *std::move(rows), place.getInt(), 0, 0};
    if (type.getRank() == 1) {
      if (!type.getElementType().isF32() && !type.getElementType().isInteger(32))
        return fail("weight '" + job.name + "': vectors must be f32, or i32 for the order of columns");
      jobs.push_back(job);
      continue;
    }
    QUERN_ASSIGN(job.layout, layoutFor(type.getElementType()));
    if (auto block = dyn_cast<dq::BlockType>(type.getElementType()))
      job.spec = &block.getFormat().getSpec();
    int64_t panels = (type.getDimSize(0) + kPanelRows - 1) / kPanelRows;
    int64_t step = std::max<int64_t>(1, kJobBytes / job.layout.panelBytes(type.getDimSize(1)));
    for (int64_t first = 0; first < panels; first += step) {
      job.firstPanel = first;
      job.panels = std::min(step, panels - first);
      jobs.push_back(job);
    }
  }
  return jobs;
}

} // namespace

Status codegen::packWeights(ModuleOp module, unsigned threads, const PackStreams &streams) {
  QUERN_ASSIGN(std::vector<Job> jobs, planJobs(module, streams));
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  Status status;
  auto work = [&](bool reports) {
    for (size_t i = next++; i < jobs.size(); i = next++) {
      if (Status packed = packJob(jobs[i], streams); !packed) {
        std::lock_guard lock(mutex);
        if (status)
          status = fail("weight '" + jobs[i].name + "': " + packed.error().message);
        next = jobs.size();
      }
      if (reports && streams.progress)
        streams.progress(double(i + 1) / double(jobs.size()));
    }
  };
  runOnThreads(threads, [&](unsigned thread) { work(thread == 0); });
  return status;
}
