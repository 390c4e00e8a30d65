import { Counter, type Registry } from './metrics.ts'

/** Registers a counter with one label, whose values each scrape reads out of a component's own plain counts. */
export function registerReadCounter(
  registry: Registry,
  name: string,
  help: string,
  label: string,
  read: () => Readonly<Record<string, number>>,
): void {
  const counter = new Counter({
    name,
    help,
    labelNames: [label],
    registers: [registry],
    collect: () => {
      counter.reset()
      for (const [value, count] of Object.entries(read())) counter.inc({ [label]: value }, count)
    },
  })
}
