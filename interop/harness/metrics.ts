/** Samples of a Prometheus text by `name{labels}` as written. */
export type Metrics = ReadonlyMap<string, number>

/** Reads an exposition in the Prometheus text format. */
export function parseMetrics(text: string): Metrics {
  return new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const space = line.lastIndexOf(' ')
        return [line.slice(0, space), Number(line.slice(space + 1))] as const
      }),
  )
}

/** The sum over all samples of a name, whatever their labels. */
export function total(metrics: Metrics, name: string): number {
  let sum = 0
  for (const [key, value] of metrics) {
    if (key === name || key.startsWith(`${name}{`)) sum += value
  }
  return sum
}
