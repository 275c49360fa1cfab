gpu.module @kernels {
  gpu.func @keep() kernel {
    %one = arith.constant 1 : i32
    %p = llvm.alloca %one x i32 : (i32) -> !llvm.ptr
    gpu.return
  }
}
