// The kernels that take some rows of activations, or put their columns into another order.
#ifndef QUERN_LIB_CODEGEN_GPU_GATHER_H
#define QUERN_LIB_CODEGEN_GPU_GATHER_H

#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// out[o, :] = x[rows[o], :]. Its name is `gather_rows_<width>`; arguments: x (f32 [T, width]), rows (i32 [O]), out.
/// Grid: x = O.
std::string gatherRowsName(int64_t width);
mlir::gpu::GPUFuncOp emitGatherRows(mlir::gpu::GPUModuleOp module, int64_t width, const GpuTarget &target);

/// out[t, k] = x[t, columns[k]], x of `from` columns and out of `width`. Its name is `gather_columns_<from>to<width>`;
/// arguments: x (f32), columns (i32 [width]), out. Grid: x = T.
std::string gatherColumnsName(int64_t from, int64_t width);
mlir::gpu::GPUFuncOp emitGatherColumns(mlir::gpu::GPUModuleOp module, int64_t from, int64_t width,
                                       const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_GATHER_H
