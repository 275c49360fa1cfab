// Operators that cut tensors into pieces, put them together, and read and write them at indices.
#include "Evaluator.h"

#include <algorithm>
#include <functional>
#include <numeric>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

static int64_t product(std::span<const int64_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t(1), std::multiplies<>());
}

/// A tensor as [outer, along the axis, inner].
struct Around {
  int64_t outer, along, inner;
  Around(const Array &array, size_t axis)
      : outer(product(std::span(array.shape).first(axis))), along(array.shape[axis]),
        inner(product(std::span(array.shape).subspan(axis + 1))) {}
};

/// The elements of the axis at these places, in this order.
static Result<Array> take(const Array &from, size_t axis, const std::vector<int64_t> &places) {
  Around size(from, axis);
  std::vector<int64_t> shape = from.shape;
  shape[axis] = static_cast<int64_t>(places.size());
  QUERN_ASSIGN(Array out, Array::zeros(shape, from.integer));
  double *to = out.data.data();
  for (int64_t o = 0; o < size.outer; ++o)
    for (int64_t place : places) {
      if (place < 0 || place >= size.along)
        return fail("reads at " + std::to_string(place) + kBeyondAxis + std::to_string(size.along));
      to = std::copy_n(from.data.data() + (o * size.along + place) * size.inner, size.inner, to);
    }
  return out;
}

static Status slice(Call &call) {
  std::vector<int64_t> lists[4];
  const char *names[] = {"starts", "ends", "axes"};
  for (size_t i = 0; i < 4; ++i) {
    if (auto given = i < 3 ? call.node.integers(names[i]) : std::nullopt)
      lists[i] = *std::move(given);
    else if (call.has(i + 1))
      lists[i] = call[i + 1].integers();
  }
  auto &[starts, ends, axes, steps] = lists;
  if (ends.size() != starts.size() || (!axes.empty() && axes.size() != starts.size()) ||
      (!steps.empty() && steps.size() != starts.size()))
    return call.wrong("its starts, ends, axes and steps are not equally many");
  Array out = call[0];
  for (size_t i = 0; i < starts.size(); ++i) {
    QUERN_ASSIGN(size_t axis, call.axis(axes.empty() ? static_cast<int64_t>(i) : axes[i], out.rank()));
    int64_t step = steps.empty() ? 1 : steps[i], size = out.shape[axis];
    if (step == 0)
      return call.wrong("has a step of 0");
    auto place = [&](int64_t at, int64_t low, int64_t high) {
      return std::clamp(at < 0 ? (at < -size ? low : at + size) : at, low, high);
    };
    if (size == 0)
      continue;
    int64_t first = place(starts[i], 0, step > 0 ? size : size - 1);
    int64_t last = step > 0 ? place(ends[i], 0, size) : place(ends[i], -1, size - 1);
    std::vector<int64_t> places;
    for (int64_t at = first; step > 0 ? at < last : at > last; at += step) {
      places.push_back(at);
      if (step > size || step < -size)
        break;
    }
    QUERN_ASSIGN(out, take(out, axis, places));
  }
  return call.give(std::move(out));
}

static Status split(Call &call) {
  QUERN_ASSIGN(size_t axis, call.axis(call.node.integer("axis", 0), call[0].rank()));
  int64_t size = call[0].shape[axis], parts = static_cast<int64_t>(call.node.outputs.size());
  std::vector<int64_t> sizes;
  if (auto given = call.node.integers("split"))
    sizes = *std::move(given);
  else if (call.has(1))
    sizes = call[1].integers();
  for (int64_t i = 0, each = (size + parts - 1) / parts; sizes.empty() || int64_t(sizes.size()) < parts; ++i)
    sizes.push_back(std::min(each, size - i * each));
  int64_t first = 0;
  for (int64_t one : sizes) {
    if (one < 0 || one > size - first)
      return call.wrong("cuts more than there is");
    std::vector<int64_t> places(static_cast<size_t>(one));
    std::iota(places.begin(), places.end(), first);
    first += one;
    QUERN_ASSIGN(Array part, take(call[0], axis, places));
    call.outputs.push_back(std::move(part));
  }
  return {};
}

static Status concat(Call &call) {
  QUERN_ASSIGN(size_t axis, call.axis(call.node.integer("axis", 0), call[0].rank()));
  std::vector<int64_t> shape = call[0].shape;
  shape[axis] = 0;
  bool integer = true, isShapeOnly = false;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    std::vector<int64_t> other = call.has(i) ? call[i].shape : std::vector<int64_t>();
    if (other.size() != shape.size())
      return call.wrong("puts tensors of different ranks together");
    int64_t along = std::exchange(other[axis], shape[axis]);
    if (other != shape)
      return call.wrong("puts tensors together whose other sizes differ");
    shape[axis] += along;
    integer &= call[i].integer;
    isShapeOnly |= call[i].isShapeOnly();
  }
  if (isShapeOnly)
    return call.give({std::move(shape), {}, integer});
  QUERN_ASSIGN(Array out, Array::zeros(shape, integer));
  Around whole(out, axis);
  int64_t first = 0;
  for (const Array *part : call.inputs) {
    Around size(*part, axis);
    for (int64_t o = 0; o < size.outer; ++o)
      std::copy_n(part->data.data() + o * size.along * size.inner, size.along * size.inner,
                  out.data.data() + (o * whole.along + first) * whole.inner);
    first += size.along;
  }
  return call.give(std::move(out));
}

static Status gather(Call &call) {
  QUERN_ASSIGN(size_t axis, call.axis(call.node.integer("axis", 0), call[0].rank()));
  std::vector<int64_t> places = call[1].integers();
  for (int64_t &place : places)
    place += place < 0 ? call[0].shape[axis] : 0;
  QUERN_ASSIGN(Array out, take(call[0], axis, places));
  std::vector<int64_t> shape(call[0].shape.begin(), call[0].shape.begin() + int64_t(axis));
  shape.insert(shape.end(), call[1].shape.begin(), call[1].shape.end());
  shape.insert(shape.end(), call[0].shape.begin() + int64_t(axis) + 1, call[0].shape.end());
  out.shape = std::move(shape);
  return call.give(std::move(out));
}

static Status gatherElements(Call &call) {
  const Array &from = call[0], &index = call[1];
  QUERN_ASSIGN(size_t axis, call.axis(call.node.integer("axis", 0), from.rank()));
  if (from.rank() != index.rank())
    return call.wrong("its indices have another rank than its data");
  QUERN_ASSIGN(Array out, Array::zeros(index.shape, from.integer));
  std::vector<int64_t> at(index.shape.size(), 0), places = index.integers();
  for (size_t i = 0; i < out.data.size(); ++i) {
    int64_t offset = 0;
    for (size_t d = 0; d < at.size(); ++d) {
      int64_t place = d == axis ? places[i] + (places[i] < 0 ? from.shape[d] : 0) : at[d];
      if (place < 0 || place >= from.shape[d])
        return call.wrong("reads outside its data");
      offset = offset * from.shape[d] + place;
    }
    out.data[i] = from.data[static_cast<size_t>(offset)];
    for (size_t d = at.size(); d-- > 0 && ++at[d] == index.shape[d];)
      at[d] = 0;
  }
  return call.give(std::move(out));
}

/// Visits the slices of `data` that the last axis of `indices` names: f(which, offset of the slice, its size).
/// `batch`: leading axes that both have.
static Status visitSlices(Call &call, const Array &data, const Array &indices, size_t batch,
                          const std::function<void(int64_t, int64_t, int64_t)> &visit) {
  if (indices.rank() < 1 || size_t(indices.rank()) <= batch)
    return call.wrong("needs indices with a last axis");
  if (!std::equal(indices.shape.begin(), indices.shape.begin() + int64_t(batch), data.shape.begin(),
                  data.shape.begin() + int64_t(std::min(batch, data.shape.size()))))
    return call.wrong("its indices have other batch axes than its data");
  auto named = static_cast<size_t>(indices.shape.back());
  if (batch + named > data.shape.size())
    return call.wrong("its indices name more axes than there are");
  int64_t inner = product(std::span(data.shape).subspan(batch + named));
  int64_t one = product(std::span(data.shape).subspan(batch)), each = 1;
  for (size_t i = batch; i + 1 < indices.shape.size(); ++i)
    each *= indices.shape[i];
  std::vector<int64_t> places = indices.integers();
  int64_t count = named ? static_cast<int64_t>(places.size() / named) : each;
  for (int64_t i = 0; i < count; ++i) {
    int64_t offset = 0;
    for (size_t d = 0; d < named; ++d) {
      int64_t size = data.shape[batch + d], place = places[size_t(i) * named + d];
      place += place < 0 ? size : 0;
      if (place < 0 || place >= size)
        return call.wrong("goes outside its data");
      offset = offset * size + place;
    }
    visit(i, i / std::max<int64_t>(each, 1) * (batch ? one : 0) + offset * inner, inner);
  }
  return {};
}

static Status gatherNd(Call &call) {
  const Array &data = call[0], &indices = call[1];
  auto batch = static_cast<size_t>(std::max<int64_t>(call.node.integer("batch_dims", 0), 0));
  if (batch >= indices.shape.size())
    return call.wrong("has more batch axes than indices");
  std::vector<int64_t> shape(indices.shape.begin(), indices.shape.end() - 1);
  size_t rest = batch + static_cast<size_t>(indices.shape.back());
  if (rest > data.shape.size())
    return call.wrong("its indices name more axes than there are");
  shape.insert(shape.end(), data.shape.begin() + int64_t(rest), data.shape.end());
  QUERN_ASSIGN(Array out, Array::zeros(shape, data.integer));
  QUERN_TRY(visitSlices(call, data, indices, batch, [&](int64_t i, int64_t offset, int64_t size) {
    std::copy_n(data.data.data() + offset, size, out.data.data() + i * size);
  }));
  return call.give(std::move(out));
}

static Status scatterNd(Call &call) {
  Array out = call[0];
  const Array &updates = call[2];
  int64_t left = updates.size();
  QUERN_TRY(visitSlices(call, call[0], call[1], 0, [&](int64_t i, int64_t offset, int64_t size) {
    if ((i + 1) * size <= updates.size())
      std::copy_n(updates.data.data() + i * size, size, out.data.data() + offset);
    left -= size;
  }));
  if (left != 0)
    return call.wrong("has another number of updates than indices");
  return call.give(std::move(out));
}

/// Writes `update` into a cache along an axis, from a place for each sequence of the batch on.
static Status tensorScatter(Call &call) {
  Array out = call[0];
  const Array &update = call[1];
  QUERN_ASSIGN(size_t axis, call.axis(call.node.integer("axis", -2), out.rank()));
  if (update.rank() != out.rank() || axis == 0)
    return call.wrong("its update does not fit its cache");
  Around whole(out, axis), part(update, axis);
  if (part.outer != whole.outer || part.inner != whole.inner || out.shape[0] < 1 || whole.along < 1)
    return call.wrong("its update does not fit its cache");
  bool circular = call.node.text("mode") == "circular";
  for (int64_t o = 0; o < whole.outer; ++o) {
    auto batch = static_cast<size_t>(o / (whole.outer / out.shape[0]));
    int64_t first = call.has(2) && call[2].data.size() > batch ? call[2].integers()[batch] : 0;
    for (int64_t i = 0; i < part.along; ++i) {
      int64_t to = circular ? (first + i) % whole.along : first + i;
      if (to < 0 || to >= whole.along)
        return call.wrong("writes outside its cache");
      std::copy_n(update.data.data() + (o * part.along + i) * part.inner, part.inner,
                  out.data.data() + (o * whole.along + to) * whole.inner);
    }
  }
  return call.give(std::move(out));
}

void language::addIndexOperators(OperatorTable &table) {
  table["Slice"] = {1, slice};
  table["Split"] = {1, split};
  table["Concat"] = {1, concat};
  table["Gather"] = {2, gather};
  table["GatherElements"] = {2, gatherElements};
  table["GatherND"] = {2, gatherNd};
  table["ScatterND"] = {3, scatterNd};
  table["TensorScatter"] = {2, tensorScatter};
}
