/** A set of ports: the first and last of each range in turn, ascending, with a gap between ranges. */
export type PortRanges = readonly number[]

export const noPorts: PortRanges = []
/** Every port that something can be sent to. */
export const allPorts: PortRanges = [1, 65_535]

export function hasPort(ranges: PortRanges, port: number): boolean {
  for (let i = 0; i < ranges.length; i += 2) {
    if (port >= (ranges[i] ?? 0) && port <= (ranges[i + 1] ?? 0)) return true
  }
  return false
}

export function unitePorts(one: PortRanges, other: PortRanges): PortRanges {
  // What is in neither is in none of the two complements.
  return subtractPorts(allPorts, subtractPorts(subtractPorts(allPorts, one), other))
}

/** The ports of `ranges` that are not in `taken`. */
export function subtractPorts(ranges: PortRanges, taken: PortRanges): PortRanges {
  if (taken.length === 0 || ranges.length === 0) return ranges
  const left: number[] = []
  for (let i = 0; i < ranges.length; i += 2) {
    let from = ranges[i] ?? 0
    const to = ranges[i + 1] ?? 0
    for (let j = 0; j < taken.length; j += 2) {
      const first = taken[j] ?? 0
      if (first > to) break
      if (first > from) left.push(from, first - 1)
      from = Math.max(from, (taken[j + 1] ?? 0) + 1)
    }
    if (from <= to) left.push(from, to)
  }
  return left
}
