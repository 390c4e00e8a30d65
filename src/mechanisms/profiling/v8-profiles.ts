import type { Profiler, Runtime } from 'node:inspector'
import { type Frame, PprofProfile, type ProfileTimes } from './pprof-profile.ts'

/** Nodes that stand for nothing that ran. */
const NOT_RUNNING = new Set(['(idle)', '(root)'])

/** V8's CPU profile: samples and nanoseconds of CPU, without the time in which the process waited. */
export function cpuProfile(profile: Profiler.Profile, intervalMicros: number, times: ProfileTimes): Buffer {
  const pprof = new PprofProfile(
    [
      { type: 'samples', unit: 'count' },
      { type: 'cpu', unit: 'nanoseconds' },
    ],
    { type: 'cpu', unit: 'nanoseconds', value: intervalMicros * 1000 },
  )
  const parents = new Map<number, number>()
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  for (const { id, children = [] } of profile.nodes) for (const child of children) parents.set(child, id)
  const stacks = new Map<number, readonly Frame[]>()
  const stackOf = (id: number): readonly Frame[] => {
    let stack = stacks.get(id)
    if (stack === undefined) {
      const parent = parents.get(id)
      const node = nodes.get(id)
      const outer = parent === undefined ? [] : stackOf(parent)
      stack =
        node === undefined || node.callFrame.functionName === '(root)'
          ? []
          : [frameOf(node.callFrame), ...outer]
      stacks.set(id, stack)
    }
    return stack
  }
  for (const [i, id] of (profile.samples ?? []).entries()) {
    if (NOT_RUNNING.has(nodes.get(id)?.callFrame.functionName ?? '')) continue
    // The time of a sample is that until the next one.
    const micros = profile.timeDeltas?.[i + 1] ?? intervalMicros
    pprof.add(stackOf(id), [1, Math.max(0, micros) * 1000])
  }
  return pprof.encode(times)
}

/** V8's sampling heap profile: what was allocated and, unless `isAll`, still lives. */
export function heapProfile(
  profile: HeapSamples,
  intervalBytes: number,
  isAll: boolean,
  times: ProfileTimes,
): Buffer {
  const what = isAll ? 'alloc' : 'inuse'
  const pprof = new PprofProfile(
    [
      { type: `${what}_objects`, unit: 'count' },
      { type: `${what}_space`, unit: 'bytes' },
    ],
    { type: 'space', unit: 'bytes', value: intervalBytes },
  )
  const samples = new Map<number, number>()
  for (const { nodeId } of profile.samples) samples.set(nodeId, (samples.get(nodeId) ?? 0) + 1)
  const visit = (node: HeapNode, outer: readonly Frame[]): void => {
    const isRoot = node.callFrame.functionName === '(root)'
    const stack = isRoot ? outer : [frameOf(node.callFrame), ...outer]
    // V8 does not tell how many objects a sample stands for: at least one.
    if (node.selfSize > 0) pprof.add(stack, [samples.get(node.id) ?? 1, node.selfSize])
    for (const child of node.children) visit(child, stack)
  }
  visit(profile.head, [])
  return pprof.encode(times)
}

/** What the protocol says of a sampling profile; the types of Node are behind. */
export interface HeapSamples {
  readonly head: HeapNode
  readonly samples: readonly { readonly nodeId: number }[]
}

interface HeapNode {
  readonly id: number
  readonly callFrame: Runtime.CallFrame
  readonly selfSize: number
  readonly children: readonly HeapNode[]
}

function frameOf({ functionName, url, lineNumber }: Runtime.CallFrame): Frame {
  return {
    name: nameOf(functionName, url, lineNumber + 1),
    file: url.replace(/^file:\/\//, ''),
    line: lineNumber + 1,
  }
}

/**
 * `http-edge.#dispatch`: pprof adds up what has one name, whatever its file, so that names say the module, as Go's say the package.
 * What is V8's own (`(garbage collector)`) has none.
 */
function nameOf(functionName: string, url: string, line: number): string {
  const name = functionName || `(anonymous):${line}`
  const path = url.startsWith('node:') ? url.slice('node:'.length) : url.slice(url.lastIndexOf('/') + 1)
  return path === '' ? name : `${path.replace(/\.[cm]?[jt]s$/, '')}.${name}`
}
