gpu.module @kernels {
  llvm.func @reduce(%x: i32, %out: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel} {
    %mask = llvm.mlir.constant(-1 : i32) : i32
    %0 = nvvm.redux.sync max %x, %mask : i32 -> i32
    llvm.store %0, %out : i32, !llvm.ptr<1>
    llvm.return
  }
}
