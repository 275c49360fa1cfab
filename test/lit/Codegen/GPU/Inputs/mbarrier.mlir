gpu.module @kernels {
  llvm.func @begin(%barrier: !llvm.ptr<3>, %count: i32) attributes {gpu.kernel, nvvm.kernel} {
    nvvm.mbarrier.init %barrier, %count : !llvm.ptr<3>, i32
    llvm.return
  }
}
