import { Histogram, type MetricValueWithName } from 'prom-client'
import type { BatchSizes } from './contract.ts'

/** Upper ends of the sizes that `BatchSizes.counts` tells apart; the last has none. */
const bounds = [1, 3, 7, 15, 31, 63]

/** A histogram whose numbers are counted elsewhere and read when it is scraped; nothing while there are none. */
export class BatchHistogram extends Histogram {
  readonly #name: string
  readonly #help: string
  readonly #read: () => BatchSizes | undefined

  constructor(name: string, help: string, read: () => BatchSizes | undefined) {
    super({ name, help, buckets: bounds, registers: [] })
    this.#name = name
    this.#help = help
    this.#read = read
  }

  /** What prom-client makes the text of a scrape from, in place of numbers that it keeps itself. */
  getForPromString(): Promise<object> {
    const values = this.#values(this.#read())
    return Promise.resolve({
      name: this.#name,
      help: this.#help,
      type: 'histogram',
      aggregator: 'sum',
      values,
    })
  }

  #values(sizes: BatchSizes | undefined): MetricValueWithName<string>[] {
    if (sizes === undefined) return []
    let count = 0
    const buckets = sizes.counts.map((ofSize, index) => {
      count += ofSize
      return { metricName: `${this.#name}_bucket`, labels: { le: bounds[index] ?? '+Inf' }, value: count }
    })
    return [
      ...buckets,
      { metricName: `${this.#name}_sum`, labels: {}, value: sizes.sum },
      { metricName: `${this.#name}_count`, labels: {}, value: count },
    ]
  }
}
