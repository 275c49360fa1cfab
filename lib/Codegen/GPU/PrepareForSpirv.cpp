// What upstream's way from `gpu` to SPIR-V expects of kernels, and ours are written without: address spaces, bare
// pointers as arguments, workgroup buffers as variables, and no op of NVIDIA's.
#include "quern/Codegen/Spirv.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/IR/AttrTypeSubElements.h"

namespace quern::codegen {
#define GEN_PASS_DEF_PREPAREFORSPIRV
#include "lib/Codegen/GPU/SpirvPasses.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// Address spaces of OpenCL's SPIR-V in LLVM: CrossWorkgroup and Workgroup.
constexpr unsigned kDevice = 1, kWorkgroup = 3;

struct PrepareForSpirv : codegen::impl::PrepareForSpirvBase<PrepareForSpirv> {
  void runOnOperation() override {
    if (failed(checkOps()))
      return signalPassFailure();
    typeMemory();
    getOperation().walk([](NVVM::DotAccumulate4WayOp dot) { expandDot(dot); });
    LowerToLLVMOptions options(&getContext());
    options.overrideIndexBitwidth(64);
    LLVMTypeConverter converter(&getContext(), options);
    for (gpu::GPUFuncOp kernel : getOperation().getOps<gpu::GPUFuncOp>()) {
      setAttributes(kernel);
      OpBuilder builder = OpBuilder::atBlockBegin(&kernel.getBody().front());
      placeWorkgroupBuffers(kernel, builder, converter);
      takeBarePointers(kernel, builder, converter);
      takeDynamicMemory(kernel, builder, converter);
    }
  }

  LogicalResult checkOps() {
    WalkResult result = getOperation().walk([](Operation *op) {
      bool nvidia = isa_and_nonnull<NVVM::NVVMDialect, nvgpu::NVGPUDialect>(op->getDialect());
      if (nvidia && !isa<NVVM::DotAccumulate4WayOp>(op))
        op->emitOpError("has no form in SPIR-V; kernels for it must do without");
      else if (isa<LLVM::AllocaOp, memref::AllocaOp, memref::AllocOp>(op))
        op->emitOpError("is private memory, which kernels for SPIR-V have none of");
      else if (auto kernel = dyn_cast<gpu::GPUFuncOp>(op); kernel && kernel.getNumPrivateAttributions())
        op->emitOpError("has private memory, which kernels for SPIR-V have none of");
      else
        return WalkResult::advance();
      return WalkResult::interrupt();
    });
    return failure(result.wasInterrupted());
  }

  /// Pointers and memrefs without an address space are to device memory.
  void typeMemory() {
    AttrTypeReplacer replacer;
    replacer.addReplacement([](LLVM::LLVMPointerType type) -> Type {
      return type.getAddressSpace() == 0 ? LLVM::LLVMPointerType::get(type.getContext(), kDevice) : type;
    });
    replacer.addReplacement([](MemRefType type) -> Type {
      auto space = dyn_cast_if_present<gpu::AddressSpaceAttr>(type.getMemorySpace());
      bool workgroup = space && space.getValue() == gpu::AddressSpace::Workgroup;
      if (type.getMemorySpace() && !space)
        return type;
      Builder builder(type.getContext());
      Attribute number = builder.getI64IntegerAttr(workgroup ? kWorkgroup : kDevice);
      return MemRefType::get(type.getShape(), type.getElementType(), type.getLayout(), number);
    });
    replacer.recursivelyReplaceElementsIn(getOperation(), /*replaceAttrs=*/true, /*replaceLocs=*/false,
                                          /*replaceTypes=*/true);
  }

  /// Byte `number` of a word, as i32.
  static Value byteOf(ImplicitLocOpBuilder &b, Value word, unsigned number, bool isSigned) {
    auto constant = [&](int64_t value) { return arith::ConstantOp::create(b, b.getI32IntegerAttr(value)); };
    if (isSigned)
      return arith::ShRSIOp::create(
          b, number == 3 ? word : arith::ShLIOp::create(b, word, constant(24 - 8 * number)).getResult(), constant(24));
    if (number == 3)
      return arith::ShRUIOp::create(b, word, constant(24));
    Value low = number == 0 ? word : arith::ShRUIOp::create(b, word, constant(8 * number)).getResult();
    return arith::AndIOp::create(b, low, constant(255));
  }

  /// Four products and their sum. OpenCL has a function for it, of which Intel's runtime for CPUs makes kernels that it
  /// takes seven times as long to compile.
  static void expandDot(NVVM::DotAccumulate4WayOp dot) {
    ImplicitLocOpBuilder b(dot.getLoc(), dot);
    Value a = LLVM::BitcastOp::create(b, b.getI32Type(), dot.getA());
    Value x = LLVM::BitcastOp::create(b, b.getI32Type(), dot.getB());
    Value sum = dot.getC();
    for (unsigned number = 0; number < 4; ++number) {
      Value product = arith::MulIOp::create(b, byteOf(b, a, number, dot.getAType() == NVVM::DotAccumulateType::SIGNED),
                                            byteOf(b, x, number, dot.getBType() == NVVM::DotAccumulateType::SIGNED));
      sum = arith::AddIOp::create(b, sum, product);
    }
    dot.replaceAllUsesWith(sum);
    dot.erase();
  }

  static void setAttributes(gpu::GPUFuncOp kernel) {
    for (NamedAttribute attribute : llvm::to_vector(kernel->getDiscardableAttrs()))
      if (attribute.getName().getValue().starts_with("nvvm."))
        kernel->removeAttr(attribute.getName());
    kernel->setAttr("intel_reqd_sub_group_size", OpBuilder(kernel).getI32IntegerAttr(32));
  }

  /// A memref of the type that starts at the pointer.
  static Value asMemRef(OpBuilder &builder, const LLVMTypeConverter &converter, Value pointer, MemRefType type) {
    Value descriptor = MemRefDescriptor::fromStaticShape(builder, pointer.getLoc(), converter, type, pointer);
    return UnrealizedConversionCastOp::create(builder, pointer.getLoc(), type, descriptor).getResult(0);
  }

  /// Each buffer becomes a variable of the module, so that launches need not pass it.
  static void placeWorkgroupBuffers(gpu::GPUFuncOp kernel, OpBuilder &builder, const LLVMTypeConverter &converter) {
    unsigned first = kernel.getFirstWorkgroupAttributionIndex(), count = kernel.getNumWorkgroupAttributions();
    for (unsigned i = 0; i < count; ++i) {
      BlockArgument buffer = kernel.getBody().getArgument(first + i);
      auto type = cast<MemRefType>(buffer.getType());
      auto alignment = dyn_cast_if_present<IntegerAttr>(kernel.getWorkgroupAttributionAttr(i, "llvm.align"));
      auto array = LLVM::LLVMArrayType::get(type.getElementType(), type.getNumElements());
      OpBuilder atKernel(kernel);
      auto variable = LLVM::GlobalOp::create(
          atKernel, kernel.getLoc(), array, /*isConstant=*/false, LLVM::Linkage::Internal,
          (kernel.getName() + "_shared" + Twine(i)).str(), /*value=*/Attribute(), alignment ? alignment.getInt() : 0,
          kWorkgroup);
      OpBuilder atInitializer = OpBuilder::atBlockBegin(&variable.getInitializerRegion().emplaceBlock());
      Value undefined = LLVM::UndefOp::create(atInitializer, kernel.getLoc(), array);
      LLVM::ReturnOp::create(atInitializer, kernel.getLoc(), undefined);
      Value pointer = LLVM::AddressOfOp::create(builder, kernel.getLoc(), variable);
      buffer.replaceAllUsesWith(asMemRef(builder, converter, pointer, type));
    }
    kernel.getBody().front().eraseArguments(first, count);
    kernel->removeAttr(gpu::GPUFuncOp::getNumWorkgroupAttributionsAttrName());
    kernel.removeWorkgroupAttribAttrsAttr();
  }

  /// Upstream would pass the whole descriptor of a memref.
  static void takeBarePointers(gpu::GPUFuncOp kernel, OpBuilder &builder, const LLVMTypeConverter &converter) {
    Block &body = kernel.getBody().front();
    for (BlockArgument argument : body.getArguments())
      if (auto type = dyn_cast<MemRefType>(argument.getType())) {
        argument.setType(LLVM::LLVMPointerType::get(kernel.getContext(), kDevice));
        Value memory = asMemRef(builder, converter, argument, type);
        argument.replaceUsesWithIf(memory, [](OpOperand &use) { return !isa<LLVM::InsertValueOp>(use.getOwner()); });
      }
    kernel.setFunctionType(builder.getFunctionType(body.getArgumentTypes(), {}));
  }

  /// Memory whose size the launch says is one more argument.
  static void takeDynamicMemory(gpu::GPUFuncOp kernel, OpBuilder &builder, const LLVMTypeConverter &converter) {
    auto uses = llvm::to_vector(kernel.getBody().getOps<gpu::DynamicSharedMemoryOp>());
    if (uses.empty())
      return;
    Type pointer = LLVM::LLVMPointerType::get(kernel.getContext(), kWorkgroup);
    Value argument = kernel.getBody().addArgument(pointer, kernel.getLoc());
    kernel.setFunctionType(builder.getFunctionType(kernel.getBody().getArgumentTypes(), {}));
    for (gpu::DynamicSharedMemoryOp use : uses) {
      OpBuilder at(use);
      // Nobody asks for its size: what a view takes of it has a size of its own.
      auto type = cast<MemRefType>(use.getType());
      auto descriptor = MemRefDescriptor::poison(at, use.getLoc(), converter.convertType(type));
      descriptor.setAllocatedPtr(at, use.getLoc(), argument);
      descriptor.setAlignedPtr(at, use.getLoc(), argument);
      descriptor.setConstantOffset(at, use.getLoc(), 0);
      descriptor.setConstantStride(at, use.getLoc(), 0, 1);
      Value memory = UnrealizedConversionCastOp::create(at, use.getLoc(), type, Value(descriptor)).getResult(0);
      use.getResult().replaceAllUsesWith(memory);
      use.erase();
    }
  }
};

} // namespace
