"""The order in which lanes that have parted meet again, and the loops of a kernel, from its graph of basic blocks."""


def successors(kernel):
    """For each basic block those that may follow it."""
    found = []
    for number, block in enumerate(kernel.blocks):
        last = block.instructions[-1] if block.instructions else None
        after = [block.target] if block.target is not None else []
        ends = last is not None and last.opcode in ("bra", "ret", "exit") and last.guard is None
        if not ends and number + 1 < len(kernel.blocks):
            after.append(number + 1)
        found.append(after)
    return found


def components(nodes, edges):
    """Strongly connected components of the graph of `nodes`, those that come last first (Tarjan, without recursion)."""
    index, low, stack, found = {}, {}, [], []
    on_stack = set()
    for root in nodes:
        work = [] if root in index else [(root, iter(edges[root]))]
        while work:
            node, left = work[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            following = next((n for n in left if n in nodes), None)
            if following is None:
                work.pop()
                if low[node] == index[node]:
                    at = stack.index(node)
                    found.append(stack[at:])
                    on_stack.difference_update(stack[at:])
                    del stack[at:]
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
            elif following not in index:
                work.append((following, iter(edges[following])))
            elif following in on_stack:
                low[node] = min(low[node], index[following])
    return found


def order_and_loops(kernel):
    """(place of each block, loops). In the order of places every loop comes as a whole before what follows it, and its
    head first: if blocks run in this order, lanes that left a loop or skipped a branch wait for the others. A loop is
    (head, its blocks)."""
    edges = successors(kernel)
    before = [[] for _ in edges]
    for node, after in enumerate(edges):
        for following in after:
            before[following].append(node)
    place, loops = {}, []
    pending = [(set(range(len(kernel.blocks))), 0)]
    while pending:
        nodes, head = pending.pop()
        if len(nodes) == 1:
            place[head] = len(place)
            if head in edges[head]:
                loops.append((head, [head]))
            continue
        inner = nodes
        if head in place:  # a loop whose head stands
            inner = nodes - {head}
        parts = components(inner, {n: [m for m in edges[n] if m in inner] for n in inner})
        if head not in place and len(parts) == 1:  # all of it is one loop
            place[head] = len(place)
            loops.append((head, sorted(nodes)))
            pending.append((nodes, head))
            continue
        for part in parts:  # the last first, so that the first is taken up first
            inside = set(part)
            entered = [n for n in part if n == head or not inside.issuperset(before[n])]
            pending.append((inside, min(entered or part)))
    return place, loops
