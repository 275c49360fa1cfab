"""PTX text as kernels of basic blocks. Knows the syntax that LLVM's NVPTX back end writes."""
import re
from dataclasses import dataclass, field

from . import ModelError, fusion

MOST_BYTES = 256 << 20
TYPE_BYTES = {"pred": 1, "b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2, "b32": 4,
              "u32": 4, "s32": 4, "f32": 4, "f16x2": 4, "bf16x2": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8}
ENTRY = re.compile(r"(?:\.visible\s+)?\.entry\s+([\w$.]+)\s*\(?")
PARAMETER = re.compile(r"\.param\s+\.(\w+)\b.*?([\w$]+)(?:\[\d+\])?\s*,?$")
SHARED = re.compile(r"(\.extern\s+)?\.shared\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d*)\])?")
STATEMENT = re.compile(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*)$")
OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,]+")
NO_RESULT = {"st", "bar", "barrier", "bra", "ret", "exit", "cp", "membar", "fence", "red", "griddepcontrol", "trap",
             "prefetch", "nanosleep"}

# Least number of operands of each instruction that the model knows; a type must stand in the name where True.
KNOWN = {
    **dict.fromkeys("add sub mul min max and or xor shl shr rem div setp selp dp4a dp2a mad fma bfe prmt lop3 shf sad "
                    "addc subc bfi".split(), (3, True)),
    **dict.fromkeys("mov cvt not neg abs rcp sqrt rsqrt ex2 lg2 sin cos tanh ld ldu st shfl redux popc clz brev bfind "
                    "cvta copysign testp red".split(), (2, True)),
    **dict.fromkeys("ldmatrix vote match".split(), (2, False)),
    **dict.fromkeys("ret exit bar barrier membar fence cp griddepcontrol trap".split(), (0, False)),
    **dict.fromkeys("bra nanosleep prefetch".split(), (1, False)),
    "mma": (4, True), "activemask": (1, True), "atom": (3, True)}
ACCESSES = {"ld", "ldu", "st", "ldmatrix", "red", "atom"}
SPACES = {"global", "shared", "param", "const", "local"}  # an address without one could be of any
MMA_SHAPE = re.compile(r"\.m(\d+)n(\d+)k(\d+)\.")


@dataclass
class Instruction:
    line: int
    opcode: str  # the first part of the name: "ld", "add", "mma"
    name: str  # the whole name: "ld.global.v4.b32"
    results: list  # registers written
    sources: list  # operands read, as text; registers of brackets and braces one by one
    operands: list  # all operands as written
    guard: str = None  # the register of a predicate
    negated: bool = False
    share: float = 1  # of its cost that is left (fusion.py)

    @property
    def parts(self):
        return self.name.split(".")

    @property
    def type(self):
        """The last type in the name: what results are made of, but for conversions."""
        for part in reversed(self.parts):
            if part in TYPE_BYTES:
                return part
        return None

    def reads(self):
        registers = [s for s in self.sources if s.startswith("%")]
        return registers + [self.guard] if self.guard else registers


@dataclass
class Block:
    first: int  # line
    instructions: list = field(default_factory=list)
    target: int = None  # of the branch at the end
    label: str = ""


@dataclass
class Kernel:
    name: str
    parameters: list = field(default_factory=list)  # names
    shared: dict = field(default_factory=dict)  # name -> address within the block's shared memory
    shared_bytes: int = 0
    lines: range = None  # of the text, the first of which is 0
    blocks: list = field(default_factory=list)

    def instructions(self):
        return (i for block in self.blocks for i in block.instructions)


def parse_operand(text):
    """Registers, numbers and names within one operand."""
    return [t for t in re.findall(r"%?[\w$.]+|-?\d\w*", text.strip("{}[] "))] if text[0] in "{[" else [text]


def parse_instruction(text, line, source):
    match = STATEMENT.match(text)
    if not match:
        raise ModelError(f"{source}: line {line} is no PTX instruction: '{text[:60]}'")
    negated, guard, name, rest = match.groups()
    operands = [o.strip() for o in OPERAND.findall(rest) if o.strip()]
    opcode = name.split(".")[0]
    results, sources = [], []
    for number, operand in enumerate(operands):
        if number == 0 and opcode not in NO_RESULT:
            results = [r for part in operand.split("|") for r in parse_operand(part)]
        else:
            sources += parse_operand(operand)
    made = Instruction(line, opcode, name, results, sources, operands, guard, negated == "!")
    check(made, source)
    return made


def check(i, source):
    """Refuses what the model would count wrongly."""
    if i.opcode not in KNOWN:
        raise ModelError(f"{source}: line {i.line}: the model does not know the instruction '{i.name[:40]}'")
    operands, typed = KNOWN[i.opcode]
    addresses = [parse_operand(o) for o in i.operands if o.startswith("[")]
    wrong = [len(i.operands) < operands, typed and i.type is None, not all(i.operands),
             i.opcode in ACCESSES and not (addresses and all(addresses)),
             i.opcode not in NO_RESULT and operands > 0 and not i.results,
             i.opcode == "mma" and not MMA_SHAPE.search(i.name),
             operands > 1 and i.opcode not in NO_RESULT and not i.sources]
    if i.opcode in ACCESSES and SPACES.isdisjoint(i.parts):
        raise ModelError(f"{source}: line {i.line}: '{i.name[:40]}' names no kind of memory that the model knows")
    if i.opcode == "ldmatrix" and "x4" not in i.parts:
        raise ModelError(f"{source}: line {i.line}: the model knows only .x4 of ldmatrix, not '{i.name[:40]}'")
    if any(wrong):
        raise ModelError(f"{source}: line {i.line}: cannot read the operands of '{i.name[:40]}'")


class Parser:
    def __init__(self, text, source):
        self.source = source
        text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)
        self.lines = [line.split("//")[0].strip() for line in text.split("\n")]
        self.kernels, self.global_shared = {}, {}

    def fail(self, line, what):
        raise ModelError(f"{self.source}: line {line}: {what}")

    def run(self):
        number = 0
        while number < len(self.lines):
            line = self.lines[number]
            match = ENTRY.search(line)
            if match:
                number = self.kernel(match.group(1), number + 1)
                continue
            if ".shared" in line:
                self.declare_shared(line, number + 1, self.global_shared)
            number += 1
        if not self.kernels:
            raise ModelError(f"{self.source} holds no kernel: it has no .entry")
        return self.kernels

    def declare_shared(self, line, number, into):
        match = SHARED.search(line)
        if not match:
            self.fail(number, "cannot read this declaration of shared memory")
        external, align, kind, name, count = match.groups()
        size = TYPE_BYTES.get(kind)
        if size is None:
            self.fail(number, f"unknown type .{kind}")
        into[name] = (int(align or size), 0 if external else size * int(count or 1))

    def kernel(self, name, number):
        kernel, shared, first = Kernel(name), dict(self.global_shared), number - 1
        while number < len(self.lines) and not self.lines[number].startswith("{"):
            match = PARAMETER.search(self.lines[number])
            if match:
                kernel.parameters.append(match.group(2))
            number += 1
        body, pending, depth = [], None, 0  # an instruction may take several lines
        for number in range(number, len(self.lines)):
            line = self.lines[number]
            if line in ("{", "}") and pending is None:
                depth += 1 if line == "{" else -1
                if depth == 0:
                    break
            elif ".shared" in line and line.startswith("."):
                self.declare_shared(line, number + 1, shared)
            elif line and pending is None and not line.startswith("."):
                pending = (number + 1, line)
            elif line and pending:
                pending = (pending[0], pending[1] + " " + line)
            if pending and pending[1].endswith((";", ":")):
                body.append(pending)
                pending = None
        else:
            raise ModelError(f"{self.source}: kernel {name} has no end: the text is cut off")
        self.place_shared(kernel, shared, body)
        kernel.blocks = self.basic_blocks(body)
        fusion.mark(kernel)
        self.kernels[name] = kernel
        kernel.lines = range(first, number + 1)
        return number + 1

    def place_shared(self, kernel, shared, body):
        """Arrays that the kernel names, one after the other; the dynamic one last."""
        words = {w for _, line in body for w in re.findall(r"[\w$]+", line)}
        at = 0
        for name, (align, size) in sorted(shared.items(), key=lambda item: item[1][1] == 0):
            if name in words:
                at = (at + align - 1) // align * align
                kernel.shared[name] = at
                at += size
        kernel.shared_bytes = at

    def basic_blocks(self, body):
        blocks, labels = [Block(body[0][0] if body else 0)], {}
        for number, line in body:
            if line.endswith(":"):
                if blocks[-1].instructions or blocks[-1].label:
                    blocks.append(Block(number))
                blocks[-1].label = line[:-1]
                labels[line[:-1]] = len(blocks) - 1
                continue
            instruction = parse_instruction(line[:-1].strip(), number, self.source)
            blocks[-1].instructions.append(instruction)
            if instruction.opcode in ("bra", "ret", "exit"):
                blocks.append(Block(number))
        if len(blocks) > 1 and not blocks[-1].instructions and not blocks[-1].label:
            blocks.pop()
        for block in blocks:
            last = block.instructions[-1] if block.instructions else None
            if last and last.opcode == "bra":
                if last.sources[-1:] == [] or last.sources[-1] not in labels:
                    self.fail(last.line, f"branch to an unknown label: '{' '.join(last.sources)}'")
                block.target = labels[last.sources[-1]]
        return blocks


def text_of(text, kernels, names):
    """The module `text` with only some of its `kernels`."""
    lines = text.split("\n")
    left_out = {line for name, kernel in kernels.items() if name not in names for line in kernel.lines}
    return "\n".join(line for number, line in enumerate(lines) if number not in left_out)


def parse(text, source):
    """Kernels by name. `source` names the text in messages."""
    if len(text) > MOST_BYTES:
        raise ModelError(f"{source} has {len(text)} bytes, more than the {MOST_BYTES} that are read")
    return Parser(text, source).run()
